"""What BigCommerce is asked of hooks is what its own description of webhooks v3 takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml

from tracker.plugin.conformance import Recorder, example_settings, plugin_of

SPEC = Path(__file__).parents[3] / "shared" / "platforms" / "specs" / "bigcommerce" / "webhooks.v3.yml"


@pytest.mark.skipif(not SPEC.exists(), reason="the shared specifications are not here")
def test_hooks_are_asked_for_as_webhooks_v3_says() -> None:
    document = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
    schemas, paths = document["components"]["schemas"], document["paths"]
    plugin = plugin_of("adapters.bigcommerce")
    source, client = (
        plugin("a", example_settings(plugin, store_hash="abc")),
        Recorder(b'{"data": []}', b'{"data": {"id": 8}}'),
    )
    wanted = source.hooks_wanted("https://t.example/webhooks/big")
    source.hooks_there(client)
    source.make_hook(client, wanted[0])
    source.mend_hook(client, replace(wanted[0], ref="8"))

    assert {one.topic for one in wanted} <= {schema.get("title") for schema in schemas.values()}
    listed, made, mended = client.sent
    known = [
        document["components"]["parameters"][one["$ref"].rpartition("/")[2]]["name"]
        for one in paths["/hooks"]["get"]["parameters"]
    ]
    assert {*listed.params} <= {*known}
    for request, path, schema in ((made, "/hooks", "webhook_Base"), (mended, "/hooks/{webhook_id}", "webhook_Put")):
        assert request.method.lower() in paths[path]
        assert request.url.partition("/v3")[2] == path.replace("{webhook_id}", "8")
        jsonschema.validate(json.loads(request.content or b""), schemas[schema])
        assert {*json.loads(request.content or b"")} <= {*schemas[schema]["properties"]}
