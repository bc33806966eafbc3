"""Numba kernels without numba's start-up time.

Importing numba and unpacking its cached functions takes longer than reconstructing a slice. A file of kernels is
therefore compiled by numba once, its machine code kept on disk, and from then on linked by llvmlite, numba's own
back end, which starts ten times faster. The code is compiled anew when the file, llvmlite or the processor changes.

A file of kernels is a module of functions decorated with `kernel`, which get pointers and numbers and make
arrays of them with `numba.carray`. They are called through a `Kernels`:

>>> kernels = Kernels("mri_recon.solvers.kernels")
>>> kernels.axpy(address(x), address(y), 2.0, x.size)  # doctest: +SKIP

They run without the interpreter's lock, so that threads can share the work.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

FORMAT = 1
"""Raised when this file changes what it writes."""

_ARGUMENTS: dict[str, Any] = {
    "float32*": ctypes.c_void_p,
    "complex64*": ctypes.c_void_p,
    "float64*": ctypes.c_void_p,
    "int32*": ctypes.c_void_p,
    "int64": ctypes.c_int64,
    "float32": ctypes.c_float,
}

_KINDS = ("complex64", "float32", "float64", "int32")

Function = Callable[..., Any]


def kernel(signature: str) -> Callable[[Function], Function]:
    """Mark a function as a kernel: ``@kernel("float32*, float32, int64")`` names its arguments' types.

    Pointers are addresses of C-contiguous arrays (`address`), complex ones as pairs of floats. It must
    neither raise nor allocate.
    """

    def mark(function: Function) -> Function:
        function.__dict__["signature"] = signature
        return function

    return mark


def address(array: NDArray[Any]) -> int:
    """Where a C-contiguous array of such numbers as kernels take begins; good for as long as somebody holds it."""
    if array.dtype not in _KINDS or not array.flags.c_contiguous:
        raise TypeError(
            f"Expected contiguous {', '.join(_KINDS)}, got {array.dtype} with strides {array.strides}."
        )
    return array.ctypes.data


class Kernels:
    """The kernels of a module, compiled or linked when the first of them is called."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._functions: dict[str, Function] | None = None
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Function:
        with self._lock:
            if self._functions is None:
                self._functions = _load(self._module)
        try:
            function = self._functions[name]
        except KeyError:
            raise AttributeError(f"{self._module} has no kernel {name}") from None
        self.__dict__[name] = function
        return function


def _load(module: str) -> dict[str, Function]:
    """Functions of a module: from the disk where they are there, compiled and put there where not."""
    spec = importlib.util.find_spec(module)
    assert spec is not None  # named in this package
    assert spec.origin is not None
    source = Path(spec.origin)
    name = f"{source.stem}.{_fingerprint(source)}.kernels"
    for folder in _cache_folders(source):
        try:
            content = (folder / name).read_bytes()
        except OSError:
            continue
        # A file that was cut short must not be run.
        if content[:64] == _digest(content[64:]):
            return _linked(*_unpacked(content[64:]))
    content = _compiled(module)
    _keep(name, _digest(content) + content, _cache_folders(source))
    return _linked(*_unpacked(content))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _unpacked(content: bytes) -> tuple[bytes, dict[str, str]]:
    """Machine code, and the signatures that stand on the line before it."""
    signatures, _, code = content.partition(b"\n")
    return code, json.loads(signatures)


def _fingerprint(source: Path) -> str:
    """What machine code depends on."""
    import llvmlite
    import llvmlite.binding as llvm

    machine = f"{sys.platform} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    versions = f"{FORMAT} {llvmlite.__version__} {machine}"
    return hashlib.sha256(source.read_bytes() + versions.encode()).hexdigest()[:16]


def _cache_folders(source: Path) -> list[Path]:
    """Where compiled code is looked for and kept, as numba does it: a folder asked for, beside the file, at home."""
    asked = os.environ.get("NUMBA_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [Path(asked)] if asked else [source.parent / "__pycache__", Path(home) / "mri-recon"]


def _keep(name: str, content: bytes, folders: list[Path]) -> None:
    """Write to the first folder that can be written to; where there is none, each process compiles."""
    for folder in folders:
        partial = folder / f"{name}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            partial.replace(folder / name)
            return
        except OSError:
            continue


def _compiled(module: str) -> bytes:
    """Signatures of a module's kernels, a line of JSON, and their machine code."""
    import llvmlite.binding as llvm
    import numba

    functions: dict[str, Any] = {
        name: value
        for name, value in vars(importlib.import_module(module)).items()
        if callable(value) and hasattr(value, "signature")
    }
    types = {
        "float32*": numba.types.CPointer(numba.float32),
        "complex64*": numba.types.CPointer(numba.complex64),
        "float64*": numba.types.CPointer(numba.float64),
        "int32*": numba.types.CPointer(numba.int32),
        "int64": numba.int64,
        "float32": numba.float32,
    }
    whole = llvm.parse_assembly("")
    for name, function in functions.items():
        arguments = [types[kind] for kind in _kinds(function.signature)]
        callback = numba.cfunc(numba.void(*arguments), fastmath=True, error_model="numpy")(function)
        part = llvm.parse_assembly(callback.inspect_llvm())
        # The callback reports exceptions to Python, which ties it to numba; what it wraps stands alone.
        inner = callback.native_name.removeprefix("cfunc.")
        for symbol in part.functions:
            if symbol.name == inner:
                symbol.name, symbol.linkage = name, "external"
            elif not symbol.is_declaration:
                symbol.linkage = "internal"
        for variable in part.global_variables:
            if not variable.is_declaration:
                variable.linkage = "internal"
        whole.link_in(part)
    machine = _machine()
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(whole, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    signatures = json.dumps({name: function.signature for name, function in functions.items()})
    code: bytes = machine.emit_object(whole)
    return signatures.encode() + b"\n" + code


def _machine() -> Any:
    """A code generator for this processor."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )


_engines: list[Any] = []  # the code lives as long as its engine


def _linked(code: bytes, signatures: Mapping[str, str]) -> dict[str, Function]:
    """Machine code as Python functions."""
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return {
        name: _function(engine.get_function_address(name), signature)
        for name, signature in signatures.items()
    }


def _function(address: int, signature: str) -> Function:
    arguments = [_ARGUMENTS[kind] for kind in _kinds(signature)]
    # Numba's own calling convention: room for a result and for an exception come first.
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *arguments)
    function = prototype(address)
    room = (ctypes.c_char * 64)()
    address_of_room = ctypes.addressof(room)

    def call(*values: Any) -> None:
        function(address_of_room, address_of_room, *values)

    call.__dict__["keep"] = room
    return call


def _kinds(signature: str) -> list[str]:
    return [kind.strip() for kind in signature.split(",")]
