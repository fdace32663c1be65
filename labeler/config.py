"""The labelling page: one picture, one question, one key an answer."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from db.models import Other

CONTROL = "class"
"""Name of the one `<Choices>`, as results carry it."""
IMAGE = "image"
"""Name of the `<Image>`, and of the task's field that says where the picture is."""
EXAMPLE = "curate-example"
"""Class of what shows a choice's example, in its markup."""
REVIEW = "review"
"""Field of a task's data that says why somebody is to look at it again."""
OTHER_KEYS = {Other.NONE: "n", Other.SEVERAL: "m", Other.UNUSABLE: "x"}
"""Keys of what else can be said of a picture, unless a class has them."""

# maxWidth leaves room for the toolbar: without it, "fit" crops up to 21 pixels of either side.
_PAGE = """<View style="display:flex;flex-wrap:wrap;gap:24px;align-items:flex-start">
  <Style>
    .curate-choice {{ display:inline-block }}
    .curate-example {{ display:inline-block; width:32px; height:32px; margin-right:8px; vertical-align:middle;
                      background:center/cover no-repeat; border-radius:3px; transform-origin:0 0;
                      transition:transform .1s .3s }}
    .curate-choice:hover .curate-example {{ transform:translate(152px,-8px) scale(3.5); position:relative; z-index:9 }}
  </Style>
  <View style="flex:1 1 320px;min-width:0">
    <Image name="{image}" value="${image}" zoom="true" zoomControl="true" defaultZoom="fit"
           maxWidth="calc(100% - 42px)"/>
  </View>
  <View style="flex:0 0 310px;max-height:calc(100vh - 160px);overflow-y:auto">
    <Choices name="{control}" toName="{image}" choice="single-radio" showInline="false"
             required="true"
             requiredMessage="Pick an answer, or skip the image. The key of what is selected takes it away.">
{choices}
    </Choices>
  </View>
</View>"""


def labelling_config(
    classes: Sequence[str], hotkeys: Mapping[str, str], examples: Mapping[str, str] | None = None
) -> str:
    """Label Studio's XML for choosing one of `classes`, or one of the answers beside them.

    Classes in `hotkeys` can be chosen by that key; those in `examples` show the picture at that address, a `data:` URL.
    """
    shown = examples or {}
    choices = "\n".join(_choice(name, key, shown.get(name)) for name, key in answers(classes, hotkeys).items())
    return _PAGE.format(image=IMAGE, control=CONTROL, choices=choices)


def answers(classes: Sequence[str], hotkeys: Mapping[str, str]) -> dict[str, str | None]:
    """Give the key of each answer, in the order of the page; None for one that has none."""
    taken = {key.casefold() for key in hotkeys.values()}
    others = {other.caption: None if key in taken else key for other, key in OTHER_KEYS.items()}
    return {**{name: hotkeys.get(name) for name in classes}, **others}


def _choice(name: str, key: str | None, example: str | None) -> str:
    attributes = {"value": name, "hotkey": key, "html": example and _picture(name, example)}
    said = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items() if value)
    return f"      <Choice {said}/>"


def _picture(name: str, example: str) -> str:
    """Markup of a choice with an example: the page shows it instead of the bare name.

    As a background: of an `<img>` the page takes a `data:` address away.
    """
    shown = f"""<span class="{EXAMPLE}" style="background-image:url('{example}')"></span>"""
    return f'<span class="curate-choice">{shown}{escape(name)}</span>'


def choice_result(name: str) -> list[dict[str, object]]:
    """The result that chooses class `name`, as Label Studio keeps it."""
    return [{"from_name": CONTROL, "to_name": IMAGE, "type": "choices", "value": {"choices": [name]}}]


def other_named(said: str) -> Other | None:
    """What else than a class an answer says, in any case; None if it is nothing of the kind."""
    return next((other for other in Other if other.caption.casefold() == said.casefold()), None)
