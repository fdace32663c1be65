"""Which of several answers counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from db.answers import LabelPolicy, Rule
from db.models import Annotation, AnnotationOrigin, Label, Other, Policy

Decision = tuple[int | None, Other | None]
"""A class's id, or what else was said; neither: the answers differ, and nothing decides."""
UNDECIDED: Decision = (None, None)

_RANK = {AnnotationOrigin.LABEL_STUDIO: 0, AnnotationOrigin.IMPORT: 1, AnnotationOrigin.ACCEPTED: 2}
"""People outrank imports, and these what a run was taken at its word for."""


def policy_in_force(session: Session) -> LabelPolicy:
    """Give the policy that labels are derived by at present."""
    row = session.get(Policy, 1)
    if row is None:
        return LabelPolicy()
    return LabelPolicy(Rule(row.rule["rule"]), tuple(row.rule["trusted"]), bool(row.rule["accepted_count"]))


def put_in_force(session: Session, policy: LabelPolicy) -> None:
    """Keep `policy`. Labels that rest on another are for the caller to derive anew."""
    session.merge(Policy(id=1, rule=asdict(policy) | {"trusted": list(policy.trusted)}))
    session.flush()


@dataclass(frozen=True, slots=True)
class Voice:
    """One answer that is active, and who gave it: the same person on two servers is two."""

    annotation: Annotation
    person: str
    email: str = ""

    @property
    def said(self) -> Decision:
        """What it says."""
        return self.annotation.class_id, self.annotation.other

    @property
    def age(self) -> tuple[datetime, int]:
        """Order in time."""
        return self.annotation.answered_at, self.annotation.id


def decide(image_id: int, voices: Iterable[Voice], policy: LabelPolicy, asked_after: datetime | None) -> Label:
    """Derive an image's label from its answers, of which there is at least one.

    What was answered since somebody was asked to decide, after `asked_after`, outranks everything earlier.
    """
    heard = _one_each(voices)
    ruled = [voice for voice in heard if asked_after and voice.annotation.answered_at > asked_after]
    if ruled and ruled[0].annotation.origin is AnnotationOrigin.LABEL_STUDIO:
        return _label(image_id, max(ruled, key=lambda voice: voice.age))
    if heard[0].annotation.origin is AnnotationOrigin.LABEL_STUDIO:
        said, voice = _people(heard, policy)
    else:
        said, voice = _unanimous(heard)
    return _label(image_id, voice, said)


def _one_each(voices: Iterable[Voice]) -> list[Voice]:
    """Keep the voices of the highest rank, and of each person the latest."""
    ordered = sorted(voices, key=lambda voice: voice.age)
    rank = min(_RANK[voice.annotation.origin] for voice in ordered)
    ranked = [voice for voice in ordered if _RANK[voice.annotation.origin] == rank]
    if rank:  # imports of several folders are of nobody: each counts
        return ranked
    return sorted({voice.person: voice for voice in ranked}.values(), key=lambda voice: voice.age)


def _people(voices: Sequence[Voice], policy: LabelPolicy) -> tuple[Decision, Voice]:
    if policy.rule is Rule.TRUSTED:
        order: Mapping[str, int] = {email.casefold(): place for place, email in enumerate(policy.trusted)}
        trusted = [voice for voice in voices if voice.email.casefold() in order]
        if trusted:
            chosen = min(trusted, key=lambda voice: order[voice.email.casefold()])
            return chosen.said, chosen
    if policy.rule in {Rule.MAJORITY, Rule.CROWDLAB}:
        return _most(voices)
    return voices[-1].said, voices[-1]


def _most(voices: Sequence[Voice]) -> tuple[Decision, Voice]:
    """What most say. As many for one thing as for another decide nothing."""
    votes = Counter(voice.said for voice in voices)
    (said, most), *others = votes.most_common()
    if others and others[0][1] == most:
        return UNDECIDED, voices[-1]
    return said, next(voice for voice in reversed(voices) if voice.said == said)


def _unanimous(voices: Sequence[Voice]) -> tuple[Decision, Voice]:
    same = len({voice.said for voice in voices}) == 1
    return (voices[-1].said if same else UNDECIDED), voices[-1]


def _label(image_id: int, voice: Voice, said: Decision | None = None) -> Label:
    class_id, other = voice.said if said is None else said
    return Label(
        image_id=image_id,
        class_id=class_id,
        other=other,
        conflict=class_id is None and other is None,
        origin=voice.annotation.origin,
        annotation_id=voice.annotation.id,
        decided_at=voice.annotation.answered_at,
    )
