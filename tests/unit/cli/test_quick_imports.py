"""What msgspec's import passes over, and that nobody else's does."""

import subprocess
import sys

PROGRAM = """
import sys
from bennu.cli.quick_imports import install
sys.modules.pop("typing_extensions", None)
install()
import msgspec
print("typing_extensions" in sys.modules, "inspect" in sys.modules)
class Made(msgspec.Struct, frozen=True):
    number: int = 0
print(msgspec.json.decode(b'{"number": 2}', type=Made))
try:
    import typing_extensions
except ModuleNotFoundError as error:
    print(error)
else:
    print(typing_extensions.__name__)
"""


def test_msgspec_comes_without_what_it_need_not_have():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    loaded, works, other = done.stdout.splitlines()
    assert (loaded, works) == ("False False", "Made(number=2)")
    assert other in {"typing_extensions", "No module named 'typing_extensions'"}
