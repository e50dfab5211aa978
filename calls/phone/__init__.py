"""The reference phone: a library, and `manage.py phone`. It loads no Django, and without media no media stack either.

- `identity` the folder: keys, tokens, pinned contacts · `account` REST: registration, tokens, device list, features
- `signaling` the socket: requests that survive a reconnect, events once each
- `outgoing`, `incoming` how a call begins · `call` its life until it ends · `leg` what it needs of its media
- `media`, `sound` real media over aiortc · `silent` none
- `phone` all of it together · `commands` driven by standard input · `crowd` many at once · `report` what is told
"""
