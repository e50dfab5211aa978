"""The web process: Django under granian, which loads this module in its worker."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

from django.core.wsgi import get_wsgi_application

from controlplane.base import env, logs
from controlplane.host.child import die_with_parent

if os.environ.get("ROLLCALL_SUPERVISED"):
    # granian's worker is a grandchild of the supervisor: it must not keep the port when its own parent is killed.
    die_with_parent(signal.SIGKILL)

logs.configure("web", json=env.load().log_json)
application = get_wsgi_application()
