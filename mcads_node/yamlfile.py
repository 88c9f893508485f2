"""The administrator's YAML files: read safely, checked whole, every problem told with file, line and key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mcads_node.errors import ConfigError, Problem
from mcads_node.suggestion import did_you_mean

Model = TypeVar("Model", bound=BaseModel)

#: a key's place in the document: keys of mappings and indices of sequences, outermost first
KeyPath = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 less its surprises: no aliases (they can grow without bound), and few implicit types.

    In DICOM "NO" and "YES" are words, as in ``BurnedInAnnotation: NO``; 0123 is not octal, 12:30 no number.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            message = "aliases (*name) are not read; write the value out"
            raise yaml.composer.ComposerError(None, None, message, event.start_mark)
        return super().compose_node(parent, index)


_TAG = "tag:yaml.org,2002:"
#: of YAML 1.1's implicit types only null stays; the others are those of YAML 1.2's core schema
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == f"{_TAG}null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


class WrittenInt(int):
    """An integer, and how it was written: ``0123`` may be the name of a station."""

    text: str


class WrittenFloat(float):
    """A number, and how it was written: ``1.10`` may be a version."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """A YAML file's plain content, and on which line each key stands."""

    path: Path
    #: mappings, sequences and scalars as YAML has them
    plain: Any
    #: 1-based
    lines: Mapping[KeyPath, int]

    def fit(self, model: type[Model], context: Mapping[str, Any] | None = None) -> Model:
        """Check the content against `model`.

        Parameters
        ----------
        model
            pydantic model of the whole document.
        context
            What the model's validators may ask for besides the document.

        Raises
        ------
        ConfigError
            With every problem found.
        """
        try:
            return model.model_validate(self.plain, context=context)
        except ValidationError as error:
            raise ConfigError([_problem(self, model, detail) for detail in error.errors()]) from error


def read_document(path: Path) -> Document:
    """Read the YAML file at `path`, UTF-8.

    Raises
    ------
    ConfigError
        The file cannot be read, is not YAML, or has a key twice.
    """
    return parse_document(read_text(path), path)


def read_text(path: Path) -> str:
    """Read the UTF-8 text at `path`; raises ConfigError where that cannot be done."""
    try:
        # line ends as they are: the text is what is kept on record
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start}); save it as UTF-8"
    raise ConfigError([Problem(file=str(path), line=None, key="", message=message)])


def parse_document(text: str, path: Path) -> Document:
    """Read YAML from `text`, which is told to stand at `path`.

    Raises
    ------
    ConfigError
        It is not YAML, or has a key twice.
    """
    root = _compose(text, path)
    lines: dict[KeyPath, int] = {}
    problems: list[Problem] = []
    plain = _plain(root, (), path, lines, problems) if root is not None else {}
    if problems:
        raise ConfigError(problems)
    return Document(path=path, plain=plain, lines=lines)


def load_yaml(path: Path, model: type[Model]) -> Model:
    """Read the YAML file at `path` into `model`; raises ConfigError with every problem found."""
    return read_document(path).fit(model)


def _compose(text: str, path: Path) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        message = f"is not valid YAML: {error.problem}"
        raise ConfigError([Problem(file=str(path), line=line, key="", message=message)]) from error
    except (yaml.YAMLError, RecursionError) as error:
        message = f"is not valid YAML: {error}"
        raise ConfigError([Problem(file=str(path), line=None, key="", message=message)]) from error


def _plain(
    node: yaml.Node, at: KeyPath, path: Path, lines: dict[KeyPath, int], problems: list[Problem]
) -> Any:
    """Turn `node` into plain values; remember each key's line, and note what YAML lets pass and we do not."""
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*at, i), path, lines, problems) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, at, path, lines, problems)
    try:
        if node.tag in (f"{_TAG}int", f"{_TAG}float"):
            number = WrittenInt(node.value) if node.tag == f"{_TAG}int" else WrittenFloat(node.value)
            number.text = node.value
            return number
        return _ScalarConstructor().construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        text = getattr(error, "problem", None) or str(error)
        problems.append(Problem(file=str(path), line=lines[at], key=dotted(at), message=str(text)))
        return None


def _plain_mapping(
    node: yaml.MappingNode, at: KeyPath, path: Path, lines: dict[KeyPath, int], problems: list[Problem]
) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
            message = "keys are plain words; merge keys and structured keys are not read"
            problems.append(Problem(file=str(path), line=line, key=dotted(at), message=message))
            continue
        key = key_node.value
        here: KeyPath = (*at, key)
        if key in mapping:
            message = f"is given twice (first on line {lines[here]})"
            problems.append(Problem(file=str(path), line=line, key=dotted(here), message=message))
            continue
        mapping[key] = _plain(value_node, here, path, lines, problems)
        lines[here] = line
    return mapping


class _ScalarConstructor(yaml.constructor.SafeConstructor):
    """Builds scalars only; containers are walked by this module so that every key keeps its line."""


def dotted(at: KeyPath) -> str:
    """Write a key's place as administrators read it: ``routes[0].when.Modality``."""
    text = ""
    for part in at:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _problem(document: Document, model: type[BaseModel], detail: Any) -> Problem:
    at: KeyPath = tuple(detail["loc"])
    # pydantic's location may go on past the document: names of union branches, "[key]", a key that is missing
    known = at
    while known and known not in document.lines:
        known = known[:-1]
    missing = detail["type"] == "missing"
    key = at if missing or detail["type"] == "extra_forbidden" else known
    line = document.lines.get(known)
    return Problem(file=str(document.path), line=line, key=dotted(key), message=_message(model, detail))


def _message(model: type[BaseModel], detail: Any) -> str:
    kind, text = detail["type"], str(detail["msg"])
    if kind == "extra_forbidden":
        *section, key = detail["loc"]
        return f"is not a key this node knows{did_you_mean(str(key), _keys_at(model, section))}"
    if kind == "missing":
        return "is required and not there"
    text = text.removeprefix("Value error, ")
    found = detail.get("input")
    if isinstance(found, str | int | float | bool) or found is None:
        return f"{text[0].lower()}{text[1:]}; found {found!r}" if kind != "value_error" else text
    return f"{text[0].lower()}{text[1:]}"


def _keys_at(model: type[BaseModel], place: Iterable[str | int]) -> set[str]:
    """Keys that a section knows, found by its place: names of fields, keys of mappings, indices."""
    sections: list[Any] = [model]
    for part in place:
        fields = [field for each in sections for field in _fields(each).items()]
        named = [field.annotation for name, field in fields if part == (field.alias or name)]
        sections = [inner for each in named or sections for inner in _sections_in(each)]
    return {field.alias or name for each in sections for name, field in _fields(each).items()}


def _fields(section: Any) -> Mapping[str, FieldInfo]:
    return section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}


def _sections_in(annotation: Any) -> Iterator[Any]:
    """Give the models within an annotation, such as ``tuple[Rule, ...]`` or ``dict[str, X] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_in(inner)


def write_yaml(path: Path, document: Any) -> None:
    """Write plain values as YAML, keys in their order."""
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


class _Dumper(yaml.SafeDumper):
    """Writes values out in full, for aliases are not read here."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True
