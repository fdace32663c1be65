"""The labelling page as it stands on the server: ours, or one that a person has edited there."""

import re
from collections.abc import Mapping, Sequence

from lxml import etree

from db.errors import LabelStudioError
from labeler.config import CONTROL, EXAMPLE, IMAGE, answers

_ONE = {"single", "single-radio"}
_PICTURE = re.compile(r"data:image/[\w.+-]+;base64,[A-Za-z0-9+/=]+")
_WAY_BACK = "; `curate label start --reset-page` puts curate's own page back"


def pictures(page: str) -> set[str]:
    """Pictures that a page, or a part of it, holds in itself, as `data:` addresses."""
    return set(_PICTURE.findall(page))


def follow(edited: str, classes: Sequence[str], hotkeys: Mapping[str, str], examples: Mapping[str, str]) -> str:
    """Bring a page that a person has edited up to date: every answer can be chosen, all else stays as it is.

    But for our examples: those that are none any more give way to what is in `examples`. Raises LabelStudioError for a
    page that curate cannot read answers from.
    """
    root = parsed(edited)
    control = _control(root)
    _image(root)
    present = {choice.get("value"): choice for choice in control.iter("Choice")}
    missing = {name: key for name, key in answers(classes, hotkeys).items() if name not in present}
    stale = _stale(control, examples)
    if not missing and not stale:
        return edited
    for choice in stale:
        _redraw(choice, examples.get(choice.get("value") or ""))
    keys = {choice.get("hotkey") for choice in present.values()}
    for name, key in missing.items():
        choice = etree.SubElement(control, "Choice", value=name)
        if key is not None and key not in keys:
            choice.set("hotkey", key)
    return str(etree.tostring(root, encoding="unicode"))


def _stale(control: etree._Element, examples: Mapping[str, str]) -> list[etree._Element]:
    """Choices that show an example of ours that is none any more."""
    shown = set(examples.values())
    ours = [choice for choice in control.iter("Choice") if EXAMPLE in (choice.get("html") or "")]
    return [choice for choice in ours if not pictures(choice.get("html") or "") <= shown]


def _redraw(choice: etree._Element, example: str | None) -> None:
    if example is None:
        del choice.attrib["html"]  # the page shows the bare name then
    else:
        choice.set("html", _PICTURE.sub(lambda _: example, choice.get("html") or ""))


def parsed(page: str) -> etree._Element:
    """Read a page. Raises LabelStudioError for one that is no XML."""
    try:
        return etree.fromstring(page, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError as error:
        raise LabelStudioError(f"the labelling page in Label Studio is no XML ({error.msg}){_WAY_BACK}") from None


def _control(root: etree._Element) -> etree._Element:
    """Give the one `<Choices>`."""
    found = list(root.iter("Choices"))
    if len(found) != 1 or found[0].get("name") != CONTROL:
        raise LabelStudioError(
            f'the labelling page in Label Studio needs exactly one <Choices>, with name="{CONTROL}", and has'
            f" {len(found)}{_WAY_BACK}"
        )
    if found[0].get("choice", "single") not in _ONE:
        raise LabelStudioError(
            "the labelling page in Label Studio lets people choose several classes, and curate knows one class an"
            f' image; set choice="single-radio" there{_WAY_BACK}'
        )
    return found[0]


def _image(root: etree._Element) -> None:
    if not any(image.get("name") == IMAGE and image.get("value") == f"${IMAGE}" for image in root.iter("Image")):
        raise LabelStudioError(
            f'the labelling page in Label Studio needs <Image name="{IMAGE}" value="${IMAGE}"/>{_WAY_BACK}'
        )
