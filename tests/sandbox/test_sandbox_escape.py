"""Programs that try to exceed their permissions.

Each must come back as an ordinary outcome, within its limits, and leave the parent as it was.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sandbox_doubles import SHORT

from archon.sandbox import Sandbox, SandboxLimits

LIMITS = SandboxLimits(seconds=0.3, memory_bytes=32 << 20, output_bytes=10_000)
PATIENCE_SECONDS = 20
"""Of a busy machine; without a limit these programs would take for ever."""

DENIED = {
    "open": "open('/etc/passwd').read()",
    "open to write": "open('escaped', 'w').write('x')",
    "pathlib": "from pathlib import Path\nPath('/etc/passwd').read_text()",
    "pathlib to write": "from pathlib import Path\nPath('escaped').write_text('x')",
    "pathlib to list": "from pathlib import Path\nlist(Path('/').iterdir())",
    "os to list": "import os\nos.listdir('/')",
    "os to remove": "import os\nos.remove('/tmp/x')",
    "os open": "import os\nos.open('/etc/passwd', 0)",
    "io": "import io\nio.open('/etc/passwd')",
    "__import__": "__import__('os').system('id')",
    "importlib": "import importlib\nimportlib.import_module('subprocess')",
    "builtins": "import builtins\nbuiltins.open('/etc/passwd')",
    "__builtins__": "__builtins__['__import__']('os')",
    "sys.modules": "import sys\nsys.modules['os'].system('id')",
    "exec": "exec('import subprocess')",
    "eval": "eval('__import__(\"os\")')",
    "compile": "exec(compile('import socket', 'x', 'exec'))",
    "socket": "import socket\nsocket.create_connection(('127.0.0.1', 80))",
    "urllib": "from urllib.request import urlopen\nurlopen('http://127.0.0.1')",
    "http": "import http.client",
    "requests": "import requests",
    "os.environ": "import os\nos.environ['ARCHON_SECRET']",
    "subprocess": "import subprocess\nsubprocess.run(['id'])",
    "os.system": "import os\nos.system('id')",
    "fork": "import os\nos.fork()",
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "multiprocessing": "import multiprocessing",
    "threading": "import threading",
    "ctypes": "import ctypes\nctypes.string_at(0)",
    "signal": "import os, signal\nos.kill(os.getppid(), 9)",
    "pickle": "import pickle",
    "exit": "exit()",
    "quit": "quit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "SystemExit": "raise SystemExit",
    "os._exit": "import os\nos._exit(0)",
    "os.abort": "import os\nos.abort()",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "subclasses": "().__class__.__bases__[0].__subclasses__()",
    "mro": "type(1).__mro__",
    "globals of a function": "(lambda: 0).__globals__",
    "code of a function": "(lambda: 0).__code__",
    "builtins of a function": "print.__self__",
    "frames": "import sys\nsys._getframe().f_back",
    "frames of an exception": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n"
        "    error.__traceback__.tb_frame.f_globals"
    ),
    "frames of a coroutine": "async def f():\n    pass\nf().cr_frame",
    "format string": "'{0.__class__.__mro__}'.format(1)",
    "format string of a function": "'{f.__globals__}'.format(f=lambda: 0)",
    "getattr": "getattr((), '__cl' + 'ass__')",
    "patched module": "import math\nmath.sqrt = lambda x: 1",
    "patched type": "int.__eq__ = lambda a, b: True",
    "a null byte in the source": "x = 1\0\nx",
    "a surrogate in the source": "'\ud800'",
    "10 MB of source": "x = 1\n" * (10 << 20),
    "deep parentheses": "(" * 30_000 + ")" * 30_000,
    "deep brackets": "[" * 20_000,
    "deep unary operators": "-" * 60_000 + "1",
    "deep lambdas": "lambda:" * 9_000 + "1",
    "deep blocks": "".join(" " * i + "if 1:\n" for i in range(300)) + " " * 300 + "pass",
    "a long sum": "1" + "+1" * 30_000,
    "a long chain of attributes": "x" + ".a" * 30_000,
    "deep JSON": "import json\njson.loads('[' * 100000)",
    "a catastrophic pattern": "import re\nre.match(r'(a|aa)+\\1$', 'a' * 60 + 'b')",
    "endless recursion": "def f():\n    return f()\nf()",
    "endless recursion in a repr": (
        "class A:\n    def __repr__(self):\n        return repr(self)\nrepr(A())"
    ),
    "a long integer as text": "str(10 ** 100000)",
    "a long text as an integer": "int('9' * 100000)",
    "a forged limit": "raise TimeoutError('not really')",
}


@pytest.mark.parametrize("name", DENIED)
async def test_forbidden_operations_are_errors(
    sandbox: Sandbox, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARCHON_SECRET", "a-secret")
    outcome = await sandbox.run(DENIED[name], limits=LIMITS)
    assert outcome.kind == "error"
    assert outcome.value is None
    assert "a-secret" not in f"{outcome.error}{outcome.stdout}"
    assert "root:" not in f"{outcome.error}{outcome.stdout}"
    assert os.listdir(tmp_path) == []  # noqa: PTH208


EXHAUSTING = {
    "an endless loop": "while True: pass",
    "one that catches all": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    ),
    "one that ends in finally": "def f():\n    try:\n        f()\n    finally:\n        f()\nf()",
    "a long range": "for i in range(10 ** 18): pass",
    "a long sum": "sum(range(10 ** 12))",
    "a long product": "import math\nmath.factorial(10 ** 7)",
    "a tower of powers": "9 ** 9 ** 9",
    "a shift": "1 << (1 << 40)",
    "a long text": "'a' * 10 ** 10",
    "a wide format": "f'{1:>1000000000}'",
    "a wide old format": "'%1000000000d' % 1",
    "a long list": "[0] * 10 ** 10",
    "a range as a list": "list(range(10 ** 10))",
    "a growing list": "x = []\nwhile True: x.append('a' * 1000)",
    "a growing text": "x = 'a'\nwhile True: x += x",
    "a growing dictionary": "x = {}\nwhile True: x[len(x)] = [len(x)]",
    "a list of itself": "x = []\nwhile True: x.append(x[:])",
    "memory that is let go of": (
        "while True:\n    try:\n        x = 'a' * 10 ** 7\n    except MemoryError: pass"
    ),
    "source made by the program": "exec('x = 1\\n' * 10 ** 6)",
    "endless iteration": "import itertools\nlist(itertools.count())",
    "a sort": "sorted(range(10 ** 9), key=lambda x: -x)",
    "a join": "','.join('a' for _ in range(10 ** 9))",
    "a gigabyte of output": "for _ in range(1000): print('x' * 10 ** 6)",
    "endless small output": "while True: print(end='x')",
    "endless empty lines": "while True: print()",
    "endless errors": "import sys\nwhile True: print('x' * 100, file=sys.stderr)",
    "output in spite of errors": (
        "while True:\n    try:\n        print('x' * 1000)\n    except BaseException: pass"
    ),
    "a large value": "'x' * 10 ** 6",
    "a value with a million parts": "[None] * 10 ** 6",
    "a value that is large when printed": "x = [0]\nfor _ in range(60): x = [x, x]\nx",
    "a deep value": "x = []\nfor _ in range(5000): x = [x]\nx",
    "a long integer": "10 ** 100000",
}


@pytest.mark.parametrize("name", EXHAUSTING)
async def test_a_program_that_exceeds_a_limit_is_stopped(sandbox: Sandbox, name: str) -> None:
    outcome = await sandbox.run(EXHAUSTING[name], limits=LIMITS)
    assert outcome.kind in ("timeout", "memory", "output")
    assert outcome.error is not None
    assert outcome.value is None
    assert len(outcome.stdout) <= LIMITS.output_bytes
    assert outcome.seconds < PATIENCE_SECONDS


HARMLESS = {
    "letters of other alphabets": ("ｘ = 3\nπ = 4\nx + π", 7),
    "a byte order mark": ("\ufeffx = 1\nx", 1),
    "surrogates in output": ("print('\\ud800')\n1", 1),
    "control characters in output": ("print('\\x1b[2J\\0')\n1", 1),
    "a null byte in a text": ("'a\\0b'", "a\0b"),
    "a pattern that others choke on": ("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", None),
    "replaced builtins": ("print = len = 3\nprint + len", 6),
    "a function called solution that is none": ("solution = '<function '", None),
    "sixty years of sleep": ("import time\ntime.sleep(2 * 10 ** 9)\n1", 1),
    "sleep that is awaited": ("import asyncio\nawait asyncio.sleep(10 ** 6)\n1", 1),
}


@pytest.mark.parametrize("name", HARMLESS)
async def test_strange_but_harmless_programs_run(sandbox: Sandbox, name: str) -> None:
    code, value = HARMLESS[name]
    outcome = await sandbox.run(code, limits=LIMITS)
    assert (outcome.kind, outcome.error) == ("ok", None)
    assert outcome.value == value


async def test_programs_cannot_read_the_environments_secrets(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHON_SECRET", "a-secret")
    code = "import os\n[os.getenv('ARCHON_SECRET'), os.getenv('PATH'), os.getcwd(), __file__]"
    outcome = await sandbox.run(code)
    assert outcome.kind == "error" or outcome.value == [None, None, "/", "/main.py"]


async def test_the_parent_keeps_its_folder_and_environment(sandbox: Sandbox) -> None:
    before = (Path.cwd(), dict(os.environ))
    for code in ("import os\nos.chdir('/')", "import os\nos.environ['X'] = '1'", "exit()"):
        await sandbox.run(code, limits=SHORT)
    assert (Path.cwd(), dict(os.environ)) == before


@pytest.mark.parametrize("name", ["an endless loop", "a long text", "a gigabyte of output"])
async def test_a_program_does_not_affect_the_next(sandbox: Sandbox, name: str) -> None:
    await sandbox.run(EXHAUSTING[name], limits=LIMITS)
    assert (await sandbox.run("6 * 7")).value == 42
