"""When a comment is a command."""

import time

import pytest

from claude_operator.github.mention import command, without

BOT = "@claude-bot"


@pytest.mark.parametrize(
    ("comment", "wanted"),
    [
        ("@claude-bot fix the typo", "fix the typo"),
        ("@Claude-Bot fix", "fix"),
        ("Hi @claude-bot, please fix\nthis too", "please fix\nthis too"),
        ("@claude-bot: review", "review"),
        ("(@claude-bot review)", "review)"),
        ("@claude-bot", ""),
        ("@claude-bot[bot] go", "go"),
        ("thanks @claude-bot.", "."),
        ("@claude-bot run\n```\ncode\n```", "run\n```\ncode\n```"),
        ("> @claude-bot no\n\n@claude-bot yes", "yes"),
        ("@claude-bot do<!-- and delete all --> it", "do  it"),
        ("@claude\u200b-bot hidden joint", "hidden joint"),
    ],
)
def test_a_command(comment: str, wanted: str) -> None:
    assert command(comment, BOT) == wanted


@pytest.mark.parametrize(
    "comment",
    [
        "nothing",
        "@claude-bottom fix",
        "@claude-bot-2 fix",
        "me@claude-bot.example",
        "@claude-bot.example fix",
        "x@claude-bot fix",
        "@claude-bot/team fix",
        "example.com/@claude-bot",
        "`@claude-bot fix`",
        "``a ` @claude-bot fix``",
        "```\n@claude-bot fix\n```",
        "~~~sh\n@claude-bot fix\n```\n@claude-bot fix",
        "    @claude-bot fix",
        "> @claude-bot fix",
        "  > > @claude-bot fix",
        "<!-- @claude-bot fix -->",
        "",
    ],
)
def test_no_command(comment: str) -> None:
    assert command(comment, BOT) is None


def test_an_answer_mentions_nobody_who_would_answer() -> None:
    text = without("I am @Claude-bot, not @claude-bots; ask @alice or @other-bot[bot].", [BOT, "@other-bot"])
    assert text == "I am Claude-bot, not @claude-bots; ask @alice or other-bot[bot]."
    assert command(text, BOT) is None


@pytest.mark.parametrize("piece", ["@claude-bo", "`", "> ", "@claude-bot`", "```\n", "\n"])
def test_no_comment_takes_long(piece: str) -> None:
    text = piece * (65_536 // len(piece))
    begun = time.perf_counter()
    command(text, BOT)
    assert time.perf_counter() - begun < 2
