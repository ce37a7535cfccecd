"""Resources: what a Task calls, by name or by ARN."""

import pytest

from perdure.engine.language import parse_resource

FIELDS = ("kind", "step", "service", "action", "pattern", "is_lambda_arn")
FUNCTION = "arn:aws:lambda:eu-central-1:111111111111:function:ship"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ship", ("step", "ship", None, None, "", False)),
        ("http_request", ("step", "http_request", None, None, "", False)),
        ("billing.charge", ("step", "billing.charge", None, None, "", False)),
        ("sqs:sendMessage", ("step", "sqs:sendMessage", None, None, "", False)),
        ("wait_for_resume", ("wait", None, None, None, "", False)),
        ("ship.waitForResume", ("step_and_wait", "ship", None, None, "waitForResume", False)),
        (
            "billing.charge.waitForTaskToken",
            ("step_and_wait", "billing.charge", None, None, "waitForTaskToken", False),
        ),
        (FUNCTION, ("step", "ship", None, None, "", True)),
        (FUNCTION + ":prod", ("step", "ship", None, None, "", True)),
        (FUNCTION + ".waitForResume", ("step_and_wait", "ship", None, None, "waitForResume", True)),
        ("arn:aws-us-gov:lambda:r:a:function:ship", ("step", "ship", None, None, "", True)),
        ("arn:aws:states:::sns:publish", ("step", "sns:publish", "sns", "publish", "", False)),
        (
            "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            (
                "step_and_wait",
                "sqs:sendMessage",
                "sqs",
                "sendMessage.waitForTaskToken",
                "waitForTaskToken",
                False,
            ),
        ),
        ("arn:aws:states:::ecs:runTask.sync", ("step", "ecs:runTask", "ecs", "runTask.sync", "sync", False)),
        (
            "arn:aws:states:::aws-sdk:dynamodb:putItem",
            ("step", "aws-sdk:dynamodb:putItem", "aws-sdk:dynamodb", "putItem", "", False),
        ),
        ("arn:aws:states:::lambda:invoke", ("step", None, "lambda", "invoke", "", False)),
        ("arn:aws:states:::http:invoke", ("step", "http_request", "http", "invoke", "", False)),
        (
            "arn:aws:states:::states:startExecution",
            ("execution", None, "states", "startExecution", "", False),
        ),
        (
            "arn:aws:states:::states:startExecution.sync:2",
            ("execution", None, "states", "startExecution.sync:2", "sync:2", False),
        ),
        ("arn:aws:states:us-east-1:111111111111:activity:sign", ("activity", "sign", None, None, "", False)),
    ],
)
def test_a_resource_tells_its_step_and_its_words_in_a_history(text, wanted):
    """A name, a function's ARN and an integration's ARN all lead to a registered step."""
    resource = parse_resource(text)
    assert resource.text == text
    assert tuple(getattr(resource, field) for field in FIELDS) == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "name of a step or an ARN"),
        ("two words", "name of a step or an ARN"),
        ("1st", "name of a step or an ARN"),
        ("ship.", "name of a step or an ARN"),
        ("ship.waitForResum", ".waitForResume"),
        ("ship.waitforresume", ".waitForResume"),
        (".waitForResume", "name of a step or an ARN"),
        ("wait_for_resume.waitForResume", "takes no pattern"),
        ("arn:", "an ARN here"),
        ("arn:aws:s3:::bucket", "an ARN here"),
        ("arn:aws:states:::sqs", "an ARN here"),
        ("arn:aws:states:::sqs:send message", "an ARN here"),
        ("arn:aws:states:::sqs:sendMessage.waitForToken", "unknown pattern"),
        ("arn:aws:states:::sqs:sendMessage.", "unknown pattern"),
        ("a" * 600, "at most 512"),
    ],
)
def test_a_malformed_resource_is_refused_with_the_reason(text, reason):
    """A pattern with a typing error does not become a step of that name."""
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refusal:
        parse_resource(text)
    assert reason in str(refusal.value)
