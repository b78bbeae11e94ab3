"""What a process of the hub has done before it takes work."""

import os
import subprocess
import sys

from tests import stack

PRINT_FROZEN = "import gc, poszhub.wsgi; print(gc.get_freeze_count())"


def test_what_a_web_process_has_loaded_is_left_to_no_collector():
    done = subprocess.run(
        [sys.executable, "-c", PRINT_FROZEN],
        cwd=stack.BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "poszhub.settings"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert int(done.stdout.splitlines()[-1]) > 50_000
