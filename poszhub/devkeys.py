"""Keys for a development machine, made once per checkout and kept out of the repository."""

import contextlib
import json
import secrets
from pathlib import Path

from cryptography.fernet import Fernet


def development_keys(folder: Path) -> dict[str, str]:
    """Read `keys.json` of the folder, making it first where it is missing.

    Several processes may start at once: each writes a complete file under its own name, and the
    first hard link wins, so that no process ever reads a half-written one.
    """
    path = folder / "keys.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"keys.{secrets.token_hex(8)}.tmp"
        draft.touch(mode=0o600)
        draft.write_text(
            json.dumps(
                {
                    "SECRET_KEY": secrets.token_urlsafe(50),
                    "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
                }
            )
        )
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    keys: dict[str, str] = json.loads(path.read_text())
    return keys
