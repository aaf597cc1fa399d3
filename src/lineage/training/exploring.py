"""Credit for opening a doc, in groups whose rollouts try each choice. Pure.

A policy that always opens samples nothing else, so that a group of its rollouts has nothing to
compare. Under `explore` the first rollouts of a group are therefore made to choose: to open none,
then each doc that the search offered, one rollout a choice; the others choose freely. From there on
all act by themselves. With Q(c) the mean reward of the rollouts that chose c, which has the price
of the tokens that c reads taken off, what opening made of the task is the difference

    d(c) = Q(c) - Q(none)

and the credit of c is d(c) less the mean of d over the choices that were tried, so that opening c
is credited by d(c) more than opening none. The baseline is counterfactual, as in COMA (Foerster et
al. 2018, arXiv 1705.08926): the same task, with and without. It credits the tokens that decide, and
no others. What is written afterwards is compared with what other rollouts wrote after the same
choice, and so is not paid for an opening that was not its own.

Credits are divided by one standard deviation, that of all groups of a step that explored, and not
each by its group's. A group's own would make a doc's price, where no answer was right, weigh as
much as an answer elsewhere: a doc that is needed and answers half of the time would seem to do as
much harm as good (the bias that Dr. GRPO, arXiv 2503.20783, finds in that division). How much is
made of a doc that was opened in vain is what `reward.docs` says, alone.

A choice that was forced is off the policy. Each choice whose credit A is above 0 is learnt from
once, however likely it is, with no importance weight. With A+ for those credits the gradient in the
choices' logits z is then

    d/dz(k) of sum over c of A+(c) log p(c)  =  A+(k) - p(k) x sum of A+

which is 0 where p is A+ divided by its sum. A group so pulls towards what was best in it, as hard
as something was at stake, and lets go once it is chosen: cross-entropy weighted by costs, and the
imitation of what went better than expected (Oh et al. 2018, arXiv 1806.05635) over all choices
instead of those that the policy happened to make. It does not vanish for what the policy never
does, as it would with a weight of p(c) / (chance that c was forced), which makes it the vanilla
gradient (Mei et al. 2020, arXiv 2005.06392; for off-policy samples in GRPO: LUFFY, arXiv
2504.14945).

Credits below 0 are left out. With them the gradient is A(k) whatever p is, the natural policy
gradient of a softmax (Kakade 2001; Agarwal et al. 2021, arXiv 1908.00261, section 5.3): right for a
table, in which each task has logits of its own, and it never lets go. Weights are shared. What all
tasks have in common is then moved by the sum of A over them for ever, and two in three ask for no
doc: SmolLM2, which opened 0.53 of the docs that were needed, opened none after two steps, nor after
ten. In the weights of a model it is the direction, not the length, that holds. The log-probability
that the learner takes is the policy's own for the tokens that were forced, so that from the second
pass on its clip tells how far these have moved.

Rollouts that were forced and rollouts that were free are rewarded alike. They are told apart by
`Rollout.forced` alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from math import sqrt
from statistics import fmean

from lineage.core.reward import advantages, differ
from lineage.training.values import Group, Sample, sample


def explored(group: Group) -> bool:
    """Whether some rollouts of `group` were made to choose."""
    return any(rollout.forced for rollout in group.rollouts)


def credits(group: Group) -> dict[str, float]:
    """Return the credit of each choice that the rollouts of `group` made, by its text.

    They are in units of the reward and add up to 0. Rollouts that failed do not count.
    """
    worth = {
        choice: fmean(_reward(group, number) for number in numbers)
        for choice, numbers in _chosen(group).items()
    }
    mean = fmean(worth.values()) if worth else 0.0
    return {choice: one - mean for choice, one in worth.items()}


def credit_of(group: Group, number: int) -> float | None:
    """Return the credit of what rollout `number` chose; None for one that failed."""
    found = credits(group)
    return next((found[c] for c, of in _chosen(group).items() if number in of), None)


def samples_of(groups: Sequence[Group]) -> list[tuple[str, tuple[Sample, ...]]]:
    """Return what is learnt from those of `groups` that explored, each with its curriculum.

    Of a group its choices come first, one sample for each that was better than their mean, then
    what came after each of them. Groups without a choice that is worth more than another have no
    choices here, and none has what came after one where no outcome was better than another.
    """
    exploring = [group for group in groups if explored(group)]
    every = [value for group in exploring for value in credits(group).values()]
    scale = sqrt(fmean(value**2 for value in every)) if differ(every) else 1.0
    found = list[tuple[str, tuple[Sample, ...]]]()
    for group in exploring:
        credit = credits(group)
        if differ(list(credit.values())):
            found += [(group.curriculum, one) for one in _choices(group, credit, scale)]
        for numbers in _chosen(group).values():
            found += [(group.curriculum, one) for one in _afterwards(group, numbers)]
    return found


def _choices(group: Group, credit: Mapping[str, float], scale: float) -> list[tuple[Sample, ...]]:
    """Return the choices of `group` that were better, each as the first rollout that made it."""
    firsts = [
        sample(group, numbers[0], _decision(group, numbers[0]), credit[choice] / scale)
        for choice, numbers in _chosen(group).items()
    ]
    better = tuple(one for one in _decisive(firsts) if one.advantage > 0)
    return [better] if better else []


def _afterwards(group: Group, numbers: Sequence[int]) -> list[tuple[Sample, ...]]:
    """Return what rollouts that chose alike wrote after that, place by place."""
    values = advantages([_reward(group, number) for number in numbers])
    if not any(values):
        return []
    first, *others = (group.rollouts[number].completions for number in numbers)
    places = set(first).intersection(*others) - {_decision(group, numbers[0])}
    return [
        tuple(sample(group, number, place, value) for number, value in zip(numbers, values))
        for place in sorted(places)
    ]


def _chosen(group: Group) -> dict[str, list[int]]:
    """Return the numbers of the rollouts that did not fail by their choice, in order."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, rollout in enumerate(group.rollouts):
        if rollout.reward is not None and rollout.completions:
            found[rollout.completions[_decision(group, number)].text].append(number)
    return dict(found)


def _decision(group: Group, number: int) -> str:
    """Return the place of the decision on a doc: the first thing that an episode writes."""
    return min(group.rollouts[number].completions)


def _reward(group: Group, number: int) -> float:
    reward = group.rollouts[number].reward
    assert reward is not None, "what failed was left out"
    return reward.total


def _decisive(samples: list[Sample]) -> tuple[Sample, ...]:
    """Return `samples` up to the last token at which they part, all weighing alike.

    What follows that token is no decision: a grammar writes it. A learner takes the mean over the
    tokens of a sample, and a choice is worth the sum over its tokens, so that the advantage of one
    with fewer tokens than the longest is less by as much. Empty where they do not part.
    """
    cut = [
        replace(one, tokens=one.tokens[:end], logprobs=one.logprobs[:end])
        for one in samples
        for end in [max(_parting(one, other) for other in samples)]
    ]
    longest = max(len(one.tokens) for one in cut)
    if not longest:
        return ()
    return tuple(replace(one, advantage=one.advantage * len(one.tokens) / longest) for one in cut)


def _parting(one: Sample, other: Sample) -> int:
    """Return how many tokens of `one` there are up to that at which `other` is another; 0: none."""
    if one.tokens == other.tokens:
        return 0
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one.tokens, other.tokens))
    return min(sum(1 for _ in same) + 1, len(one.tokens))
