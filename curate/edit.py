"""Writing `curate.toml`: comments and order of what a person wrote stay as they are."""

import codecs
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, Table

from curate import config
from curate.crawl.settings import CrawlSettings
from db.errors import ConfigError
from db.files import write_atomically


def set_value(path: Path, key: str, text: str, check: Callable[[Any], None] = lambda _: None) -> Any:  # noqa: ANN401 - whatever the key holds
    """Set a dotted key after checking the whole file with it, and give the value as it will be read.

    `text` is TOML where it can be read as such (`true`, `0.5`, `["openverse"]`), and else a plain string. `check` may
    raise what more there is against the value.
    """
    if key not in config.known_keys():
        config.value(config.load(path), key)  # raises, with the nearest known key
    text_before = config.read(path)
    values_before = config.parse(text_before, path)
    document = tomlkit.parse(text_before)
    *sections, name = key.split(".")
    table: Any = document
    for section in sections:
        if section not in table:
            table[section] = tomlkit.table()
        table = table[section]
        if not isinstance(table, Mapping):
            config.check(values_before, path)  # raises: no section is a number or a list
    problems: list[ConfigError] = []
    for value in _readings(text):
        table[name] = value
        try:
            settings = config.check(tomllib.loads(tomlkit.dumps(document)), path)
        except ConfigError as error:
            problems.append(error)
        else:
            check(config.value(settings, key))
            save(path, tomlkit.dumps(document))
            return config.value(settings, key)
    raise problems[0]  # of the likeliest reading


def save(path: Path, text: str) -> None:
    """Write an edited `curate.toml`. What the file is stays: its rights, its line ends, and where a link leads."""
    there = path.read_bytes()
    if b"\r\n" in there:
        text = text.replace("\n", "\r\n")
    if there.startswith(codecs.BOM_UTF8):
        text = f"\ufeff{text}"
    write_atomically(path.resolve(), text.encode(), mode=path.stat().st_mode & 0o777)


def line(key: str, value: Any) -> str:  # noqa: ANN401 - whatever the key holds
    """A key and its value as `curate.toml` may have them: TOML, a comment where nothing is set."""
    return f"# {key} is not set" if value is None else f"{key} = {tomlkit.item(value).as_string()}"


def _readings(text: str) -> list[Any]:
    """Give what `text` may mean, likeliest first; `2017` can be a number or, for a name, a string."""
    try:
        return [tomlkit.parse(f"x = {text}")["x"], text]
    except tomlkit.exceptions.TOMLKitError:
        return [text]


def presets() -> list[str]:
    """Names for `curate init --preset`."""
    folder = resources.files("curate") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def draft(preset: str | None, classes: Sequence[str], name: str) -> str:
    """Text of a new `curate.toml` for these classes, or for all of a preset's.

    Of classes that the preset knows, where one is named, it takes the queries. Raises ConfigError.
    """
    known = [] if preset is None else _classes(preset)
    if preset is None and not classes:
        raise ConfigError("which classes? Say --classes A,B,… or --preset " + " or ".join(presets()))
    chosen = [_entry(name, known) for name in classes] or known
    document = tomlkit.document()
    document["dataset"] = {"name": name, "target": 250, "validation": 50, "seed": 2017}
    document["classes"] = class_tables(chosen, keep_hotkeys=not classes)
    document["crawl"] = {"sources": list(CrawlSettings().sources), "contact": ""}
    document["crawl"]["contact"].comment("your address: it goes into the User-Agent")
    document["train"] = {"recipe": "fast", "arch": "resnet50", "size": 224, "device": "auto"}
    text = tomlkit.dumps(document)
    config.check(tomllib.loads(text), Path(config.FILE_NAME))
    return text


def class_entry(name: str, beside: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give what `curate.toml` says of a new class beside others: its name alone, or as a preset has it.

    The preset that one of the others has its queries from: a Mustang beside a Firebird may be a car.
    """
    there = [list(one.get("queries", ())) for one in beside]
    for preset in presets():
        known = _classes(preset)
        if any(one.get("queries") in there for one in known if one.get("queries")):
            return _entry(name, known)
    return {"name": name}


def _entry(name: str, known: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = (one for one in known if config.class_key(str(one["name"])) == config.class_key(name))
    return dict(next(found, {"name": name}))


def class_tables(chosen: Sequence[dict[str, Any]], *, keep_hotkeys: bool) -> AoT:
    """Write classes as sections; without `keep_hotkeys`, keys are left to be given in order."""
    tables = tomlkit.aot()
    for entry in chosen:
        table: Table = tomlkit.table()
        table["name"] = str(entry["name"])
        if keep_hotkeys and "hotkey" in entry:
            table["hotkey"] = str(entry["hotkey"])
        if "queries" in entry:
            queries = tomlkit.array()
            queries.extend(str(query) for query in entry["queries"])
            table["queries"] = queries.multiline(multiline=True)
        tables.append(table)
    return tables


def _classes(preset: str) -> list[dict[str, Any]]:
    if preset not in presets():
        raise ConfigError(f"no preset {preset!r}; there is: {', '.join(presets())}")
    text = (resources.files("curate") / "presets" / f"{preset}.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(text)["classes"])
