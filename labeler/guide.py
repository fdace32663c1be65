"""The labelling guide: what Label Studio shows as a project's instructions."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from labeler.config import answers

_MARK = '<div class="curate-guide">'
"""What a guide of ours begins with; one without it was written by a person."""
_ROW = (
    '<div style="display:flex;align-items:center;gap:12px;margin:6px 0">{picture}<b>{name}</b>{key}<span>{words}</span>'
    "</div>"
)
_PICTURE = "<span style=\"width:96px;height:96px;background:center/contain no-repeat url('{example}')\"></span>"
_WORDS = {
    "None of these": "a clear picture of something that is none of the classes above",
    "Several": "two or more of the classes in one picture",
    "Unusable picture": "nobody could tell: too dark, too small, a drawing, a part of it only",
}


def guide(classes: Sequence[str], hotkeys: Mapping[str, str], examples: Mapping[str, str]) -> str:
    """HTML with every answer, its key, and an example where there is one."""
    rows = [
        _ROW.format(
            picture=_PICTURE.format(example=examples[name]) if name in examples else "",
            name=escape(name),
            key=f"<kbd>{escape(key)}</kbd>" if key else "",
            words=escape(_WORDS.get(name, "")),
        )
        for name, key in answers(classes, hotkeys).items()
    ]
    how = (
        "<p>Pick what the picture shows, by mouse or key; Ctrl+Enter submits. If the right answer is selected already,"
        " submit it: its key would take it away. Not sure? Skip it.</p>"
    )
    return f"{_MARK}{how}{''.join(rows)}</div>"


def is_ours(instruction: str) -> bool:
    """Whether a project's instructions are empty, or a guide of ours: a person's own is left alone."""
    return not instruction.strip() or instruction.startswith(_MARK)
