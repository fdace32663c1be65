"""curate.toml: what it takes, and what it says of what it does not take."""

import tomllib
from pathlib import Path

import pytest

from curate import config, edit
from curate.project import Project
from db.answers import Other
from db.errors import ConfigError
from labeler.config import answers
from tests.conftest import Cli

MINIMAL = '[[classes]]\nname = "A"\n[[classes]]\nname = "B"\n'


def load(tmp_path: Path, text: str) -> config.Settings:
    """Settings from text."""
    path = tmp_path / "curate.toml"
    path.write_text(text)
    return config.load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "classes"),
        ('[[classes]]\nname = "A"\n', "curate.toml: classes: a dataset has two classes at least"),
        (MINIMAL + "[dataset]\ntaget = 3\n", "did you mean 'dataset.target'"),
        (MINIMAL + "[dataset]\ntarget = 50\nvalidation = 50\n", "must be less than target"),
        (MINIMAL + '[[classes]]\nname = "a"\n', "the same"),
        (MINIMAL + '[[classes]]\nname = "x/y"\n', "may hold no"),
        (MINIMAL + '[[classes]]\nname = "C"\nhotkey = "1"\n[[classes]]\nname = "D"\nhotkey = "1"\n', "hotkeys"),
        (MINIMAL + '[crawl.openverse]\nurl = "ftp://x"\n', "no http"),
        (MINIMAL + '[crawl.openverse]\nurl = "http://me:secret@x"\n', "no http"),
        (MINIMAL + '[label_studio]\nurl = "http://127.0.0.1:99999"\n', "no http"),
        (MINIMAL + '[label_studio]\nurl = "http://127.0.0.1:8080/x y"\n', "no http"),
        (MINIMAL + '[database]\nurl = "mysql://x"\n', "sqlite:///"),
        ("[dataset\n", "no valid TOML"),
        ('classes = ["A", "B"]\n', "write [[classes]]"),
        ('[classes]\nname = "A"\n', "write [[classes]]"),
        ("crawl = 3\n" + MINIMAL, "write [crawl]"),
        (MINIMAL + "[quality]\nmax_aspect = inf\n", "quality.max_aspect: Input should be a finite number"),
        (MINIMAL + "[ingest]\nmax_pixels = 400000000\n", "less than or equal to 178956970"),
        (MINIMAL + "[dataset]\nseed = 99999999999999999999\n", "dataset.seed"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    """The message names the file and what is wrong in it."""
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert words in str(error.value)
    assert "curate.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_one_thing_that_is_wrong_is_one(tmp_path: Path) -> None:
    """That a wrong class leaves one alone is nothing more."""
    with pytest.raises(ConfigError) as error:
        load(tmp_path, '[[classes]]\nname = "A/B"\n[[classes]]\nname = "C"\n')
    assert str(error.value).endswith("no leading dot")
    with pytest.raises(ConfigError, match=r"\(and 2 more\)"):
        load(tmp_path, MINIMAL + "[dataset]\na = 1\nb = 1\nc = 1\n")


def test_class_names_are_brought_to_one_form(tmp_path: Path) -> None:
    """A decomposed name is stored composed; two forms of one name collide."""
    settings = load(tmp_path, '[[classes]]\nname = "Cafe\\u0301"\n[[classes]]\nname = "B"\n')
    assert settings.classes[0].name == "Café"
    with pytest.raises(ConfigError, match="the same"):
        load(tmp_path, '[[classes]]\nname = "Cafe\\u0301"\n[[classes]]\nname = "Café"\n')


def test_every_class_gets_a_key_of_its_own() -> None:
    """Keys that are chosen stay; the others are given in order, none twice."""
    classes = [config.ClassSettings(name=f"c{i}", hotkey="2" if i == 5 else None) for i in range(40)]
    keys = config.Settings(classes=tuple(classes)).hotkeys()
    assert keys["c5"] == "2"
    assert keys["c0"] == "1"
    assert keys["c1"] == "3"
    assert len(set(keys.values())) == len(keys) == len(config.HOTKEYS)


def test_a_key_is_the_same_in_upper_case(tmp_path: Path) -> None:
    """The labelling page does not tell Q from q: no two answers may have them."""
    given = '[[classes]]\nname = "C"\nhotkey = "Q"\n[[classes]]\nname = "D"\nhotkey = "N"\n'
    with pytest.raises(ConfigError, match="two hotkeys are the same"):
        load(tmp_path, given + '[[classes]]\nname = "E"\nhotkey = "q"\n')
    settings = load(tmp_path, given + "".join(f'[[classes]]\nname = "c{i}"\n' for i in range(28)))
    keys = answers([c.name for c in settings.classes], settings.hotkeys())
    used = [key.casefold() for key in keys.values() if key]
    assert sorted(used) == sorted(set(used))
    assert (keys["C"], keys["D"], keys[Other.NONE.caption]) == ("Q", "N", None)


def test_setting_a_key_keeps_comments_and_the_rest(tmp_path: Path) -> None:
    """Only the one value changes; what a person wrote around it stays."""
    path = tmp_path / "curate.toml"
    path.write_text("# mine\n[dataset] # here\ntarget = 9 # few\nvalidation = 2\n" + MINIMAL)
    assert edit.set_value(path, "dataset.target", "12") == 12
    assert edit.set_value(path, "crawl.openverse.url", "http://127.0.0.1:99/") == "http://127.0.0.1:99"
    assert edit.set_value(path, "crawl.allow_private_addresses", "true") is True
    assert edit.set_value(path, "dataset.name", "2017") == "2017"
    text = path.read_text()
    assert "# mine\n[dataset] # here\ntarget = 12 # few\n" in text
    assert config.load(path).crawl.openverse.url == "http://127.0.0.1:99"


def test_a_file_stays_what_it_is_when_a_key_is_set(tmp_path: Path) -> None:
    """Line ends, byte order mark and rights are a person's, and a link goes on leading to the file that is edited."""
    real, path = tmp_path / "real.toml", tmp_path / "curate.toml"
    before = "\ufeff" + MINIMAL.replace("\n", "\r\n")
    real.write_bytes(before.encode())
    real.chmod(0o600)
    path.symlink_to(real.name)
    edit.set_value(path, "dataset.target", "60")
    assert path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    text = real.read_bytes().decode()
    assert text.startswith(before)
    assert text.count("\n") == text.count("\r\n") > before.count("\n")
    assert config.load(path).dataset.target == 60


def test_settings_are_shown_as_they_can_be_written(tmp_path: Path) -> None:
    """What is shown is TOML, and gives the same settings again; an address ends in no slash then."""
    path = tmp_path / "curate.toml"
    path.write_text(MINIMAL)
    settings = config.load(path)
    values = {key: config.value(settings, key) for key in config.known_keys()}
    shown = "\n".join(edit.line(key, value) for key, value in values.items())
    assert "# train.init is not set" in shown
    again = config.check(tomllib.loads(shown) | tomllib.loads(MINIMAL), path)
    values["crawl.flickr.url"] = values["crawl.flickr.url"].rstrip("/")
    assert {key: config.value(again, key) for key in config.known_keys()} == values


def test_a_word_between_colons_is_shown_as_it_is(project: Project, cli: Cli) -> None:
    """Rich would draw a key for `:key:`, and part of an address of IPv6 as a letter in a square."""
    shown = cli("config", "label_studio.url", "http://[fe80::a:1]:8080", cwd=project.root, check=True).out
    assert shown == 'label_studio.url = "http://[fe80::a:1]:8080"\n'
    assert ":key:" in cli("classes", "rename", "Red", ":key:", cwd=project.root, check=True).out


def test_a_wrong_value_is_not_written(tmp_path: Path) -> None:
    """A value that the settings refuse leaves the file as it was."""
    path = tmp_path / "curate.toml"
    path.write_text(MINIMAL)
    for key, value in (("dataset.target", "many"), ("dataset.target", "1"), ("no.such", "1"), ("dataset", "1")):
        with pytest.raises(ConfigError):
            edit.set_value(path, key, value)
    assert path.read_text() == MINIMAL
    with pytest.raises(ConfigError, match=r"crawl\.sources"):
        edit.set_value(path, "crawl.sources", "{a = 1, a = 1}")
    path.write_text("crawl = 3\n" + MINIMAL)
    with pytest.raises(ConfigError, match=r"write \[crawl\]"):
        edit.set_value(path, "crawl.contact", "me@example.org")


def test_a_draft_takes_what_the_preset_knows() -> None:
    """Classes named by hand get the queries of the preset that was asked for, in its spelling; unknown ones none."""
    text = edit.draft("guitars", ["jazzmaster", "Banjo"], "mine")
    assert 'name = "Jazzmaster"' in text
    assert "Fender Jazzmaster" in text
    assert 'name = "Banjo"' in text
    assert text.count("[[classes]]") == 2


def test_without_a_preset_classes_are_names_alone() -> None:
    """A Mustang may be a car."""
    assert "queries" not in edit.draft(None, ["Mustang", "Firebird"], "cars")
    assert edit.class_entry("Explorer", [{"name": "Mustang"}, {"name": "Firebird"}]) == {"name": "Explorer"}


def test_a_class_that_is_added_is_as_the_preset_of_the_others_has_it() -> None:
    """Beside one with a preset's queries it takes that preset's; whatever the others are."""
    classes = tomllib.loads(edit.draft("guitars", ["Mustang", "Banjo"], "mine"))["classes"]
    assert "Gibson Explorer guitar" in edit.class_entry("explorer", classes)["queries"]


def test_the_guitar_preset_is_whole() -> None:
    """Thirteen classes, each with a key and queries of its own."""
    text = edit.draft("guitars", [], "mine")
    assert text.count("[[classes]]") == text.count("hotkey = ") == text.count("queries = ") == 13


def test_classes_must_come_from_somewhere() -> None:
    """Without classes or preset nothing is made up."""
    with pytest.raises(ConfigError, match="--preset guitars"):
        edit.draft(None, [], "mine")
    with pytest.raises(ConfigError, match="no preset"):
        edit.draft("pianos", [], "mine")
