"""A supervisor over stub processes and the embedded stores: `python stub_stack.py [stubborn] [mortal] [slow]`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from controlplane.base import env as environment
from controlplane.host.child import StartTrouble
from controlplane.host.datafolder import Lock
from controlplane.host.log import Log
from controlplane.host.programs import Program
from controlplane.host.runtime import Runtime
from controlplane.host.server import Server
from controlplane.host.supervise import Parts, Supervisor

STEADY = "import signal, time; print('steady', flush=True); signal.signal(15, lambda *a: exit(0)); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('stubborn', flush=True); time.sleep(600)"
SLOW = "import time; time.sleep(7); print('slow', flush=True); time.sleep(600)"
MORTAL = "print('mortal', flush=True); raise SystemExit(3)"
PARENT = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print('parent', flush=True); time.sleep(600)"
)


def programs(runtime: Runtime) -> list[Program]:
    def program(name: str, code: str) -> Program:
        def ready(server: Server, age: float) -> bool:
            return bool(server.tail)

        return Program(name, lambda: runtime.start(name, ["-c", code]), ready)

    extra = {"stubborn": STUBBORN, "mortal": MORTAL, "slow": SLOW}
    asked = [program(name, code) for name, code in extra.items() if name in sys.argv]
    return [program("steady", STEADY), program("parent", PARENT), *asked]


def main() -> int:
    log = Log()
    try:
        env = environment.load()
        with Lock(env.data):
            return Supervisor(env, log, Parts(programs, ())).run()
    except (environment.BadSetting, StartTrouble) as trouble:
        log("rollcall", f"ERROR {trouble}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
