"""The labelling page: one picture, one question, one key a class."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import quoteattr

CONTROL = "class"
"""Name of the one `<Choices>`, as results carry it."""
IMAGE = "image"
"""Name of the `<Image>`, and of the task's field that says where the picture is."""

# maxWidth leaves room for the toolbar: without it, "fit" crops up to 21 pixels of either side.
_PAGE = """<View style="display:flex;flex-wrap:wrap;gap:24px;align-items:flex-start">
  <View style="flex:1 1 320px;min-width:0">
    <Image name="{image}" value="${image}" zoom="true" zoomControl="true" defaultZoom="fit"
           maxWidth="calc(100% - 42px)"/>
  </View>
  <View style="flex:0 0 260px;max-height:calc(100vh - 160px);overflow-y:auto">
    <Choices name="{control}" toName="{image}" choice="single-radio" showInline="false"
             required="true" requiredMessage="Pick a class, or skip the image.">
{choices}
    </Choices>
  </View>
</View>
"""


def labelling_config(classes: Sequence[str], hotkeys: Mapping[str, str]) -> str:
    """Label Studio's XML for choosing one of `classes`; those in `hotkeys` can be chosen by that key."""
    choices = "\n".join(f"      <Choice value={quoteattr(name)}{_hotkey(hotkeys.get(name))}/>" for name in classes)
    return _PAGE.format(image=IMAGE, control=CONTROL, choices=choices)


def _hotkey(key: str | None) -> str:
    return f" hotkey={quoteattr(key)}" if key else ""


def choice_result(name: str) -> list[dict[str, object]]:
    """The result that chooses class `name`, as Label Studio keeps it."""
    return [{"from_name": CONTROL, "to_name": IMAGE, "type": "choices", "value": {"choices": [name]}}]
