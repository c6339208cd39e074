"""boto3's DynamoDB and SQS clients, which know no credentials, through the proxy to moto with signatures enforced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.clients.processes import MotoProcess, ProxyProcess

ODD_TEXT = "quotes \"'`, <&>, {[]}, \\, %2F + = & ?, tab\t, line\nnext, äöü 漢字 😀"
CREDENTIALS: dict[str, dict[str, str]] = {
    "unsigned": {},
    "wrongly_signed": {
        "aws_access_key_id": "AKIAMADEUP",
        "aws_secret_access_key": "made-up",
        "aws_session_token": "made-up-token",
    },
}


def _client(proxy: ProxyProcess, service: str, credentials: dict[str, str]) -> Any:
    config = Config(signature_version=None if credentials else UNSIGNED, retries={"max_attempts": 0})
    return boto3.Session().client(
        service, endpoint_url=proxy.url, region_name=MotoProcess.REGION, config=config, **credentials
    )


@pytest.fixture(scope="module")
def dynamodb_proxy(moto: MotoProcess) -> Iterator[ProxyProcess]:
    with moto.proxy("dynamodb") as running:
        yield running


@pytest.fixture(scope="module")
def sqs_proxy(moto: MotoProcess) -> Iterator[ProxyProcess]:
    with moto.proxy("sqs") as running:
        yield running


@pytest.fixture(params=CREDENTIALS)
def dynamodb(request: pytest.FixtureRequest, dynamodb_proxy: ProxyProcess) -> Iterator[Any]:
    client = _client(dynamodb_proxy, "dynamodb", CREDENTIALS[request.param])
    yield client
    client.close()


@pytest.fixture(params=CREDENTIALS)
def sqs(request: pytest.FixtureRequest, sqs_proxy: ProxyProcess) -> Iterator[Any]:
    client = _client(sqs_proxy, "sqs", CREDENTIALS[request.param])
    yield client
    client.close()


@pytest.fixture
def table(dynamodb: Any) -> Iterator[str]:
    dynamodb.create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "who", "KeyType": "HASH"}, {"AttributeName": "what", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "who", "AttributeType": "S"},
            {"AttributeName": "what", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    yield "orders"
    dynamodb.delete_table(TableName="orders")


def test_an_item_comes_back_from_dynamodb_as_it_was_put(dynamodb: Any, table: str) -> None:
    item = {"who": {"S": ODD_TEXT}, "what": {"S": "1"}, "raw": {"B": bytes(range(256))}, "n": {"N": "3.14"}}
    dynamodb.put_item(TableName=table, Item=item)
    key = {name: item[name] for name in ("who", "what")}
    assert dynamodb.get_item(TableName=table, Key=key)["Item"] == item


def test_a_query_of_dynamodb_finds_the_items_of_its_key_in_order(dynamodb: Any, table: str) -> None:
    for what in ("c", "a", "b"):
        dynamodb.put_item(TableName=table, Item={"who": {"S": ODD_TEXT}, "what": {"S": what}})
    dynamodb.put_item(TableName=table, Item={"who": {"S": "somebody else"}, "what": {"S": "a"}})
    answer = dynamodb.query(
        TableName=table,
        KeyConditionExpression="#who = :who AND #what > :first",
        ExpressionAttributeNames={"#who": "who", "#what": "what"},
        ExpressionAttributeValues={":who": {"S": ODD_TEXT}, ":first": {"S": "a"}},
    )
    assert [item["what"]["S"] for item in answer["Items"]] == ["b", "c"]


def test_an_error_of_dynamodb_reaches_boto3_as_the_error_that_it_is(dynamodb: Any) -> None:
    with pytest.raises(ClientError) as caught:
        dynamodb.describe_table(TableName="never-made")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_a_message_comes_out_of_sqs_as_it_was_sent(sqs: Any) -> None:
    queue = sqs.create_queue(QueueName="letters")["QueueUrl"]
    attributes = {"kind": {"DataType": "String", "StringValue": ODD_TEXT}}
    sqs.send_message(QueueUrl=queue, MessageBody=ODD_TEXT, MessageAttributes=attributes)
    # boto3 compares the MD5 that the service answers with what it sent.
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    assert message["Body"] == ODD_TEXT
    assert message["MessageAttributes"] == attributes
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_queue(QueueUrl=queue)
