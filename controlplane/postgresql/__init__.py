"""Django's PostgreSQL backend, which gives a server up that stands still: see base.py."""
