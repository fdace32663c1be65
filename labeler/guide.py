"""The labelling guide: what Label Studio shows as a project's instructions."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from labeler.config import answers

_MARK = '<div class="curate-guide">'
"""What a guide of ours begins with; one without it was written by a person."""
_ROW = "<tr><td><b>{name}</b></td><td>{key}</td><td>{words}</td></tr>"
_WORDS = {
    "None of these": "a clear picture of something that is none of the classes above",
    "Several": "two or more of the classes in one picture",
    "Unusable picture": "nobody could tell: too dark, too small, a drawing, a part of it only",
}


def guide(classes: Sequence[str], hotkeys: Mapping[str, str]) -> str:
    """HTML with every answer and its key, of tags that Label Studio keeps: it takes styles and pictures out."""
    rows = [
        _ROW.format(
            name=escape(name), key=f"<kbd>{escape(key)}</kbd>" if key else "", words=escape(_WORDS.get(name, ""))
        )
        for name, key in answers(classes, hotkeys).items()
    ]
    how = (
        "<p>Pick what the picture shows, by mouse or key; Ctrl+Enter submits. If the right answer is selected already,"
        " submit it: its key would take it away. Not sure? Skip it.</p>"
    )
    return f"{_MARK}{how}<table><tbody>{''.join(rows)}</tbody></table></div>"


def is_ours(instruction: str) -> bool:
    """Whether a project's instructions are empty, or a guide of ours: a person's own is left alone."""
    return not instruction.strip() or instruction.startswith(_MARK)
