"""Definitions as Mermaid flowcharts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language import mermaid
from perdure.engine.language.analysis.connections import connections
from perdure.engine.language.analysis.drawing import NAME_MAX, Mark, label

ORDER = {
    "StartAt": "Charge",
    "States": {
        "Charge": {
            "Type": "Task",
            "Resource": "charge",
            "Next": "Is it much?",
            "Catch": [{"ErrorEquals": ["Billing.CardDeclined", "States.Timeout"], "Next": "Refused"}],
        },
        "Is it much?": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.amount", "NumericGreaterThan": 100, "Next": "Ask"},
                {"Not": {"Variable": "$.name", "StringEquals": 'O"Neil'}, "Next": "Rest"},
            ],
            "Default": "Ship",
        },
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Ship"},
        "Rest": {"Type": "Wait", "Seconds": 60, "Next": "Note"},
        "Note": {"Type": "Pass", "End": True},
        "Ship": {"Type": "Succeed"},
        "Refused": {"Type": "Fail", "Error": "Refused"},
    },
}

NODE = re.compile(r's\d+(\[\[|\[/|\[|\(\[|\(|\{\{|\{)"([^"]*)"(\]\]|\\\]|\]\)|\]|\)|\}\}|\})')
ARROW = re.compile(r'\w+ (-->|-\.->)(\|"[^"]*"\|)? \w+')
OTHER = re.compile(r'flowchart TD|start\(\("start"\)\)|finish\(\(\("end"\)\)\)|classDef \w+ \S+|class [\w,]+ \w+')
PLAIN = re.compile(r"(?:[\w ,.\-]|[^\x00-\x9f]|#\d+;)*")


def test_every_type_has_its_shape_and_every_connection_its_label():
    """A definition is drawn from its start to its end, line for line as here."""
    assert mermaid(ORDER).splitlines() == [
        "flowchart TD",
        '    start(("start"))',
        '    s1["Charge"]',
        '    s2{"Is it much#63;"}',
        '    s3["Ask"]',
        '    s4{{"Rest"}}',
        '    s5("Note")',
        '    s6(["Ship"])',
        '    s7[/"Refused"\\]',
        '    finish((("end")))',
        "    start --> s1",
        "    s1 --> s2",
        '    s1 -.->|"catch Billing.CardDeclined, States.Timeout"| s7',
        '    s2 -->|"#36;.amount NumericGreaterThan 100"| s3',
        '    s2 -->|"not #40;#36;.name StringEquals #34;O#92;#34;Neil#34;#41;"| s4',
        '    s2 -->|"default"| s6',
        "    s3 --> s6",
        "    s4 --> s5",
        "    s5 --> finish",
        "    s6 --> finish",
    ]


def test_marks_say_how_often_a_state_was_visited():
    """A marked state has a class, and from the second visit on its count."""
    definition = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Succeed"}}}
    drawn = mermaid(definition, {"A": Mark("visited", 3), "B": Mark("last", 1)}).splitlines()
    assert drawn[2:4] == ['    s1("A #215;3")', '    s2(["B"])']
    assert [line.strip() for line in drawn if line.strip().startswith("class ")] == [
        "class s1 visited",
        "class s2 last",
    ]


def test_a_state_that_runs_machines_is_drawn_around_them():
    """Branches stand in one box, each with its entry; arrows from and to the box are the state's own."""
    branches = [
        {"StartAt": "B", "States": {"B": {"Type": "Pass", "Next": "C"}, "C": {"Type": "Succeed"}}},
        {
            "StartAt": "D",
            "States": {
                "D": {
                    "Type": "Map",
                    "ItemProcessor": {"StartAt": "E", "States": {"E": {"Type": "Pass", "End": True}}},
                    "End": True,
                }
            },
        },
    ]
    caught = [{"ErrorEquals": ["E1"], "Next": "F"}]
    states = {
        "A": {"Type": "Parallel", "Branches": branches, "Next": "F", "Catch": caught},
        "F": {"Type": "Succeed"},
    }
    drawn = mermaid({"StartAt": "A", "States": states}, {"A": Mark("current", 2), "E": Mark("visited", 1)}).splitlines()
    assert drawn[2:25] == [
        '    subgraph s1["A #215;2"]',
        '        e1((" "))',
        '        s3("B")',
        '        s4(["C"])',
        "        e1 --> s3",
        "        s3 --> s4",
        '        e2((" "))',
        '        subgraph s5["D"]',
        '            e3((" "))',
        '            s6("E")',
        "            e3 --> s6",
        "        end",
        "        e2 --> s5",
        "    end",
        '    s2(["F"])',
        '    finish((("end")))',
        "    start --> s1",
        "    s1 --> s2",
        '    s1 -.->|"catch E1"| s2',
        "    s2 --> finish",
        "    classDef visited fill:#e3f1e5,stroke:#2e7d32,color:#111",
        "    class s6 visited",
        "    classDef current fill:#fff3cd,stroke:#b26a00,stroke-width:3px,color:#111",
    ]


def test_conditions_of_both_languages_are_written_on_one_line():
    """An expression stands as it is; rules within rules have parentheses."""
    nothing = {"Variable": "$.a", "IsNull": True}
    states = {
        "A": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.input.v = 1 %}", "Next": "B"},
                {"Or": [nothing, {"And": [nothing, nothing]}], "Next": "B"},
            ],
        },
        "B": {"Type": "Succeed"},
    }
    assert [way.label for way in connections({"StartAt": "A", "States": states})] == [
        "{% $states.input.v = 1 %}",
        "($.a IsNull true) or (($.a IsNull true) and ($.a IsNull true))",
    ]


def test_what_can_only_fail_has_no_end():
    """The end is drawn if a state leads to it."""
    definition = {"StartAt": "A", "States": {"A": {"Type": "Fail"}}}
    assert mermaid(definition).splitlines()[2:] == ['    s1[/"A"\\]', "    start --> s1"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("流 Prüfung", "流 Prüfung"),
        ('a"]; click', "a#34;#93;#59; click"),
        ("one\ntwo\r\n\tthree\u2028four", "one two three four"),
        (
            "$$x$$ `b` <i> #35; %% {{}}",
            "#36;#36;x#36;#36; #96;b#96; #60;i#62; #35;35#59; #37;#37; #123;#123;#125;#125;",
        ),
        ("1. first", "1#46; first"),
        ("- first", "#45; first"),
        ("a - b 1.5", "a - b 1.5"),
        ("", "␣"),
        ("\u202eevil\ud800\x00", "�evil��"),
        ("x" * 500, "x" * (NAME_MAX - 1) + "…"),
    ],
)
def test_no_text_is_taken_for_syntax(text, shown):
    """What is not a letter or digit is written as its code, what cannot be seen is replaced, and all is cut."""
    assert label(text, NAME_MAX) == shown


@given(st.lists(st.text(max_size=90), min_size=1, max_size=6, unique=True), st.text(max_size=60))
def test_names_of_any_kind_give_a_sane_drawing(names, variable):
    """Each line is a node, an arrow or a class, and each label holds letters, digits, signs and codes only."""
    states = {name: {"Type": "Pass", "Next": names[-1]} for name in names}
    states[names[-1]] = {"Type": "Choice", "Choices": [{"Variable": variable, "IsNull": True, "Next": names[0]}]}
    drawn = mermaid({"StartAt": names[0], "States": states}, dict.fromkeys(names, Mark("visited", 2)))
    lines = drawn.split("\n")
    assert lines == drawn.splitlines()
    assert len([line for line in lines if NODE.fullmatch(line.strip())]) == len(names)
    for line in lines:
        assert any(pattern.fullmatch(line.strip()) for pattern in (NODE, ARROW, OTHER)), line
        assert all(PLAIN.fullmatch(part) for part in line.split('"')[1::2]), line
    drawn.encode()
