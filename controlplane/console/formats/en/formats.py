"""How dates and numbers look in the admin's lists: short, 24 hours, with the zone said."""

DATETIME_FORMAT = r"j M Y, H:i:s \U\T\C"
SHORT_DATETIME_FORMAT = r"j M Y, H:i:s \U\T\C"
DATE_FORMAT = "j M Y"
