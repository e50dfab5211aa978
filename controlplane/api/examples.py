"""Examples in the published document, one for each body by its operation: together they launch calling in Germany."""

from __future__ import annotations

from typing import Any

FEATURE = "video-calls"
ALICE, BOB = "+493090182001", "+493090182002"
DEVICE = "018f3c1e-7b1a-4c3d-9e2f-0a1b2c3d4e5f"
CALL = "018f3c1e-7b1a-4c3d-9e2f-0a1b2c3d4e70"
SUBSCRIBER = "018f3c1e-7b1a-7c3d-9e2f-0a1b2c3d4e60"
BYTES_32 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
BYTES_64 = BYTES_32 + "gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw"
GERMAN = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]
MODERN = {"platforms": {"android": {"app": "2.12.0", "os": "4.0"}, "ios": {}}, "device_classes": ["mid", "high"]}
HALF = {"name": "Half of Germany", "any_of": GERMAN, "share_ppm": 500_000}
WHY = {"reason": "The launch begins, as agreed on Tuesday."}
OVER = {"reason": "Complaints about echo, see ticket 4711."}

# Values in addresses, by the name of the place, or by the noun and the name where nouns differ.
PLACES: dict[str, Any] = {
    "key": FEATURE,
    "areas key": "DE",
    "audiences key": "germans",
    "id": 1,
    "calls id": CALL,
    "call": CALL,
    "a": 1,
    "b": 2,
    "version": 1,
    "named": ALICE,
    "device": DEVICE,
    "subscriber": SUBSCRIBER,
}
# Bodies, by operation, in an order in which they can be sent.
BODIES: dict[str, Any] = {
    "create_area": {"key": "DE", "name": "Germany", "countries": ["DE"], "capacity_calls": 5000, **WHY},
    "change_area": {"capacity_calls": 6000, "activations_per_minute": 600, **WHY},
    "create_audience": {"key": "germans", "name": "Germans", "any_of": GERMAN, **WHY},
    "change_audience": {"name": "People in Germany", **WHY},
    "preview_audience": {"any_of": GERMAN},
    "create_feature": {"key": FEATURE, "name": "Video calls", "owner": "calling", "requirements": MODERN, **WHY},
    "change_feature": {"rules": [HALF], "revision": 1, **WHY},
    "preview_feature": {"rules": [HALF]},
    "preview_definitions": {"format": "rollcall-definitions-1", "features": {FEATURE: {"access": "everyone"}}},
    "import_definitions": {
        "format": "rollcall-definitions-1",
        "audiences": {"germans": {"name": "Germans", "any_of": GERMAN}},
        "features": {"screen-sharing": {"kind": "boolean", "access": "rules", "rules": [HALF]}},
    },
    "on_feature": WHY,
    "set_feature_access": {"access": "granted", **WHY},
    "import_people": {
        "subscribers": [
            {"phone": ALICE, "name": "Alice", "carrier": "262-03"},
            {"phone": BOB, "traits": {"staff": True}},
        ],
        **WHY,
    },
    "grant_people": {"feature": FEATURE, "subscribers": [ALICE, BOB], **WHY},
    "freeze_grant": {"reason": "Invites on behalf of a shop."},
    "thaw_grant": {"reason": "Promised to stop."},
    "revoke_grant": OVER,
    "create_wave": {"feature": FEATURE, "name": "Germany", "any_of": GERMAN, "share_ppm": 100_000, **WHY},
    "open_wave": WHY,
    "hold_wave": OVER,
    "resume_wave": WHY,
    "create_window": {"feature": FEATURE, "name": "First evening", "areas": ["DE"], "quota": 5, "places": 1000, **WHY},
    "open_window": WHY,
    "close_window": {"reason": "The evening is over."},
    "off_feature": OVER,
    "kill_feature": {"end_calls": True, **OVER},
    "unkill_feature": {"reason": "Mended in 2.12.1."},
    "launch_feature": WHY,
    "restore_ruleset": OVER,
    "recycle_number": {"reason": "The carrier gave the number to somebody else."},
    "create_key": {"name": "messenger backend", "scopes": ["evaluate"], "expires_at": "2100-01-01T00:00:00Z", **WHY},
    "revoke_key": {"reason": "It stood in a log."},
    "revoke_device": {"reason": "The phone was lost."},
    "register": {"phone": "+49 30 90182001"},
    "verify": {
        "challenge": "018f3c1e-7b1a-4c3d-9e2f-0a1b2c3d4e80",
        "code": "123456",
        "device": {"id": DEVICE, "platform": "android", "app_version": "2.12.0", "os_version": "5.1", "label": "Nexus"},
        "keys": {"ed25519": BYTES_32, "x25519": BYTES_32},
        "carrier": "262-03",
    },
    "refresh_token": {"refresh_token": f"rt_{BYTES_32}"},
    "revoke_token": {"refresh_token": f"rt_{BYTES_32}"},
    "put_device_list": {"list": "eyJkZXZpY2VzIjpbXSwiZXBvY2giOjF9", "signature": BYTES_64},
    "change_me": {"accepts_invites": False},
    "describe_my_device": {"app_version": "2.13.0", "os_version": "6.0", "network_class": "4g"},
    "rename_my_device": {"label": "My phone"},
}
# What phones and backends send to the edge. A ticket and sealed bytes are made by server and phones: these are none.
CONTEXT = {"context": {"targetingKey": SUBSCRIBER, "country": "DE"}}
EDGE_BODIES: dict[str, Any] = {
    "evaluate_flags": CONTEXT,
    "evaluate_flag": CONTEXT,
    "prepare_call": {"callee": {"phone": BOB}, "media": "audio"},
    "invite_call": {
        "call": CALL,
        "ticket": "ticket",
        "blobs": {DEVICE: BYTES_32},
        "list": BYTES_64,
        "signature": BYTES_64,
    },
    "accept_call": {"blob": BYTES_32},
    "decline_call": {"scope": "account"},
    "end_call": {"reason": "hangup"},
    "relay_call": {"blob": BYTES_32},
    "alive_call": {"ticket": "ticket"},
    "acknowledge": {"seq": 7},
}
