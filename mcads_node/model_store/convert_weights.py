"""Turn torchxrayvision's official weights, a pickle, into safetensors, in a process of its own.

Run as ``python -I -m mcads_node.model_store.convert_weights IN OUT ARCHITECTURE OUTPUTS``. This is the only
place that opens a pickle.

The official files of DenseNets are whole pickled ``torchxrayvision.models.DenseNet`` modules and, to judge by
what torchxrayvision's loader mends in them, in torch's format of before 1.6; those of other networks are
state dictionaries. Both formats are read here. torch's
own ``weights_only`` reader cannot read the older one's records of module sources, and where it can read a
pickled module, it runs the ``__setstate__`` of each class it was told to admit. So the pickle is read by an
unpickler of our own that knows three kinds of names: the few functions that rebuild a tensor; names of layers
and of numpy's arrays, for which it puts inert stand-ins that keep their tensors and do nothing; and all
others, for which it refuses the file. Nothing else that the file names is imported or called.
"""

from __future__ import annotations

import collections
import pickle
import re
import resource
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import _utils as rebuild

from mcads_node.architectures import layout
from mcads_node.errors import ModelUnusable

#: magic number of torch's format of before 1.6, as that format pickles it
_LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_ZIP_MAGIC = b"PK\x03\x04"

#: names that a pickled network holds, and that need not do anything for its tensors to be read
_INERT = re.compile(
    r"torch\.nn\.modules\.[a-z0-9_]+:[A-Za-z0-9_]+"
    r"|torch\.nn\.backends\.thnn:_get_thnn_function_backend"
    r"|torchxrayvision\.models:_?[A-Za-z0-9]+"
    r"|numpy\.(?:core|_core)\.multiarray:(?:_reconstruct|scalar)"
    r"|numpy:(?:ndarray|dtype)"
    r"|_codecs:encode"
)

#: put before all names by torch's ``DataParallel``, in which a network was trained
_PARALLEL = "module."
#: tensors of official files that only training uses: counts of batches, and PSPNet's auxiliary head
_TRAINING = re.compile(r"(?:.*\.)?num_batches_tracked|(?:convbnrelu4_aux|aux_cls)\..+")

#: bytes the process may take beyond what importing torch took; 4 times the tensors of a PSPNet, which lie
#: in the file, in memory as read, and in memory as written; a DenseNet-121 has a tenth of them
_MEMORY = 1 << 30
_CPU_SECONDS = 120
_DEPTH = 16


#: what reading a broken or hostile pickle raises; anything else ends the process, which says as much
_BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class _Sealed(type):
    """Type of the stand-ins: a pickle can set attributes of the classes it names, and of these it cannot."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"it sets the attribute {name} of a class")


class _Inert(metaclass=_Sealed):
    """Stands for an object whose class is not wanted: takes any arguments, keeps tensors, does nothing."""

    __slots__ = ("parts",)

    #: torch asks it of the class of every pickled module; true would make torch write files
    dump_patches = False

    #: state a module's tensors lie in
    parts: dict[str, Any]

    def __new__(cls, *_arguments: object) -> _Inert:
        made = object.__new__(cls)
        made.parts = {}
        return made

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            wanted = ("_parameters", "_buffers", "_modules")
            self.parts = {name: state[name] for name in wanted if name in state}


class _Function:
    """A function the pickle may call, and whose attributes it cannot set."""

    __slots__ = ("_function",)

    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"it sets the attribute {name} of a function")

    def __call__(self, *arguments: object) -> Any:
        return self._function(*arguments)


#: the only names that stand for what they say
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor"): _Function(rebuild._rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(rebuild._rebuild_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): _Function(rebuild._rebuild_parameter),
}


class Unpickler(pickle.Unpickler):
    """Reads tensors and inert stand-ins, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Give what `name` of `module` stands for.

        Raises
        ------
        pickle.UnpicklingError
            It is not one of the names a pickled network holds.
        """
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        if _INERT.fullmatch(f"{module}:{name}"):
            return _Sealed(name, (_Inert,), {"__slots__": ()})
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no weights need")


def load(file: IO[bytes], **_options: object) -> Any:
    """Read one pickle from `file`; with `Unpickler` this makes the module a ``pickle_module`` for torch."""
    return Unpickler(file).load()


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a pickled module, or of a pickled state dictionary.

    Parameters
    ----------
    path
        File written by ``torch.save``.

    Returns
    -------
    dict
        Tensors by the names that ``state_dict()`` of the module would give them.

    Raises
    ------
    ModelUnusable
        The file is of another format, is broken, or names anything that weights do not need.
    """
    content = path.read_bytes()
    _check_format(content)
    try:
        with warnings.catch_warnings():
            # torch compares the sources of pickled classes; stand-ins have none
            warnings.simplefilter("ignore")
            # from memory: from a file torch would first try its oldest format, an archive that it unpacks
            file = BytesIO(content)
            root = torch.load(file, "cpu", pickle_module=sys.modules[__name__], weights_only=False)
        return dict(_tensors(root, "", 0))
    except _BROKEN as error:
        raise ModelUnusable(f"the file was refused: {error or type(error).__name__}") from error


def write(tensors: dict[str, torch.Tensor], target: Path, architecture: str, outputs: int) -> None:
    """Write `tensors` to `target` as safetensors, if they are those of the network.

    Parameters
    ----------
    tensors
        What `read_tensors` gave.
    target
        Where the safetensors go; equal tensors make equal bytes.
    architecture
        The network's, as the manifest names it.
    outputs
        Number of the network's outputs.

    Raises
    ------
    ModelUnusable
        They are not exactly those of the network, float32 and finite.
    """
    named = {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    found = {name: tensor for name, tensor in named.items() if not _TRAINING.fullmatch(name)}
    expected = layout(architecture, outputs)
    if found.keys() != expected.keys():
        missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        raise ModelUnusable(
            f"expected the {len(expected)} tensors of architecture {architecture}; "
            f"{len(missing)} are missing {missing[:3]}, {len(extra)} are not of it {extra[:3]}"
        )
    for name, shape in expected.items():
        tensor = found[name]
        if tuple(tensor.shape) != shape or tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ModelUnusable(f"{name}: expected float32 {shape}, found {kind} {tuple(tensor.shape)}")
        if not bool(torch.isfinite(tensor).all()):
            raise ModelUnusable(f"{name}: holds values that are not finite")
    save_file({k: np.ascontiguousarray(found[k].detach().numpy()) for k in expected}, target)


def _check_format(content: bytes) -> None:
    if content.startswith(_LEGACY_MAGIC):
        return
    if content.startswith(_ZIP_MAGIC) and zipfile.is_zipfile(BytesIO(content)):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
        # constants.pkl marks TorchScript, which is a program, and which torch.load would read in another way
        if "data.pkl" in names and "constants.pkl" not in names:
            return
    raise ModelUnusable("the file was refused: it is not a file of weights that torch.save has written")


def _tensors(node: object, prefix: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    if depth > _DEPTH:
        raise ModelUnusable(f"the file was refused: its modules lie more than {_DEPTH} deep")
    if isinstance(node, dict):
        yield from ((f"{prefix}{k}", v) for k, v in node.items() if isinstance(v, torch.Tensor))
        return
    state = node.parts if isinstance(node, _Inert) else {}
    for part in ("_parameters", "_buffers"):
        yield from _tensors(state.get(part, {}), prefix, depth + 1)
    for name, child in state.get("_modules", {}).items():
        yield from _tensors(child, f"{prefix}{name}.", depth + 1)


def _limit_resources() -> None:
    """Take away what converting does not need, before the file is opened."""
    torch.set_num_threads(1)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    memory = pages * resource.getpagesize() + _MEMORY
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: _CPU_SECONDS,
        resource.RLIMIT_CORE: 0,
    }
    for which, value in limits.items():
        _soft, hard = resource.getrlimit(which)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (least, least))


def _allow_files_of(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def main(arguments: list[str]) -> int:
    """Convert; on failure write one line to standard error and give the error's exit code."""
    source, target, architecture, outputs = Path(arguments[0]), Path(arguments[1]), *arguments[2:]
    _limit_resources()
    try:
        _allow_files_of(0)
        tensors = read_tensors(source)
        _allow_files_of(_MEMORY)
        write(tensors, target, architecture, int(outputs))
    except ModelUnusable as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
