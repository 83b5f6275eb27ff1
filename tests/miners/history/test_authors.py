"""Who is a program and who is a person, by identity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow_miners.history.authors import author_kind, merge_kind

BOTS = [
    ("dependabot[bot]", "49699333+dependabot[bot]@users.noreply.github.com"),
    ("dependabot-preview[bot]", "27856297+dependabot-preview[bot]@users.noreply.github.com"),
    ("dependabot", "support@dependabot.com"),
    ("renovate[bot]", "29139614+renovate[bot]@users.noreply.github.com"),
    ("Renovate Bot", "bot@renovateapp.com"),
    ("WhiteSource Renovate", "bot@renovateapp.com"),
    ("greenkeeper[bot]", "greenkeeper[bot]@users.noreply.github.com"),
    ("greenkeeperio-bot", "support@greenkeeper.io"),
    ("github-actions", "41898282+github-actions[bot]@users.noreply.github.com"),
    ("GitHub Action", "action@github.com"),
    ("GitHub Actions", "actions@github.com"),
    ("pre-commit-ci[bot]", "66853113+pre-commit-ci[bot]@users.noreply.github.com"),
    ("pyup-bot", "github-bot@pyup.io"),
    ("pyup.io bot", "github-bot@pyup.io"),
    ("snyk-bot", "snyk-bot@snyk.io"),
    ("Weblate", "noreply@weblate.org"),
    ("Hosted Weblate", "hosted@weblate.org"),
    ("transifex-integration[bot]", "x@users.noreply.github.com"),
    ("Mergify", "mergify@example.org"),
    ("bors", "bors@rust-lang.org"),
    ("bors[bot]", "bors[bot]@users.noreply.github.com"),
    ("k8s-ci-robot", "k8s-ci-robot@users.noreply.github.com"),
    ("Kubernetes Prow Robot", "k8s-ci-robot@google.com"),
    ("scala-steward-bot", "x@example.org"),
    ("Scala Steward", "x@example.org"),
    ("BuildBot", "x@example.org"),
    ("Travis CI", "builds@travis-ci.org"),
    ("ImgBotApp", "ImgBotHelp@gmail.com"),
    ("bot", "x@example.org"),
    ("bot-release", "x@example.org"),
    ("Someone", "ci_bot@example.org"),
    ("bors-servo", "metajack+bors@gmail.com"),
    ("rustbot", "47979223+rustbot@users.noreply.github.com"),
    ("pytorchmergebot", "pytorchmergebot@users.noreply.github.com"),
    ("GopherBot", "gobot@golang.org"),
    ("LLVM GN Syncbot", "llvmgnsyncbot@gmail.com"),
    ("OpenStack Proposal Bot", "openstack-infra@lists.openstack.org"),
    ("Jenkins CI", "jenkins@example.org"),
    ("Snyk bot", "snyk-bot@snyk.io"),
    ("Snyk bot", "github@example.org"),
    ("A. Unique TensorFlower", "gardener@tensorflow.org"),
    ("Copybara-Service", "copybara-worker@google.com"),
    ("release-plz", "x@example.org"),
    ("Facebook GitHub Bot", "facebook-github-bot@users.noreply.github.com"),
    ("chromium-autoroll", "chromium-autoroll@skia-public.iam.gserviceaccount.com"),
    ("Copilot", "198982749+Copilot@users.noreply.github.com"),
    ("copilot-swe-agent[bot]", "198982749+Copilot@users.noreply.github.com"),
    ("Claude", "noreply@anthropic.com"),
    ("Cursor Agent", "cursoragent@cursor.com"),
    ("Devin AI", "158243242+devin-ai-integration[bot]@users.noreply.github.com"),
    ("OpenAI Codex", "codex@openai.com"),
    ("google-labs-jules[bot]", "161369871+google-labs-jules[bot]@users.noreply.github.com"),
    ("openhands", "openhands@all-hands.dev"),
]
PEOPLE = [
    ("GitHub", "noreply@github.com"),
    ("Ann Author", "ann@example.org"),
    ("Ann Author", "1234+ann@users.noreply.github.com"),
    ("John Abbot", "abbot@example.org"),
    ("Abbot", "john@example.org"),
    ("Bill Talbot", "talbot@example.org"),
    ("Robot Smith", "robot.smith@example.org"),
    ("Jan Bot", "jan@example.org"),
    ("Bot Jansen", "bjansen@example.org"),
    ("Henré Botha", "henrebotha@gmail.com"),
    ("Marc Cabot", "noviluni@gmail.com"),
    ("Joe Bottigliero", "joe@bottigliero.com"),
    ("Jon Jenkins", "jondjenkins@gmail.com"),
    ("Travis", "treeder@gmail.com"),
    ("Claude", "claude@example.org"),
    ("Claude Monet", "monet@example.org"),
    ("Devin Townsend", "devin@example.org"),
    ("Ann Author", "ann@anthropic.com"),
    ("Cursor Wang", "wang@example.org"),
    ("Jules Verne", "jules@example.org"),
    ("Ann Author", "1234+copilotfan@users.noreply.github.com"),
    ("Zuul Ng", "zuul.ng@example.org"),
    ("Travis Swicegood", "travis@domain51.com"),
    ("shoma", "shoma@catbot.net"),
    ("robotrapta", "79607467+robotrapta@users.noreply.github.com"),
    ("tibotix", "38123657+tibotix@users.noreply.github.com"),
    ("Michal", "michal@weblate.org"),
    ("Actionable", "actions@example.org"),
    ("Botond", "botond@example.org"),
    ("Rene Renovato", "renovato@example.org"),
    ("", ""),
]


@pytest.mark.parametrize(("name", "email"), BOTS)
def test_bots(name: str, email: str) -> None:
    assert author_kind(name.encode(), email.encode()) == "bot"


@pytest.mark.parametrize(("name", "email"), PEOPLE)
def test_people(name: str, email: str) -> None:
    assert author_kind(name.encode(), email.encode()) == "human"


@given(st.binary(), st.binary())
def test_never_raises(name: bytes, email: bytes) -> None:
    assert author_kind(name, email) in ("human", "bot")


@given(st.sampled_from(BOTS + PEOPLE), st.sampled_from([" ", "\t", "\n", "  "]))
def test_blanks_around_change_nothing(identity: tuple[str, str], blank: str) -> None:
    name, email = (part.encode() for part in identity)
    padded = blank.encode()
    assert author_kind(padded + name + padded, padded + email) == author_kind(name, email)


@pytest.mark.parametrize(
    ("own", "brought", "kind"),
    [
        ("bot", ["human"], "human"),
        ("bot", ["bot", "human", "bot"], "human"),
        ("bot", ["bot", "bot"], "bot"),
        ("human", ["bot"], "bot"),
        ("bot", [], "bot"),
        ("human", [], "human"),
    ],
)
def test_a_merge_is_the_work_of_what_it_brings_in(own: str, brought: list[str], kind: str) -> None:
    assert merge_kind(own, brought) == kind  # type: ignore[arg-type]
