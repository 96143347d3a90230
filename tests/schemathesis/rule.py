"""Without a token, an endpoint that needs one answers 401 and nothing else."""

import schemathesis


@schemathesis.check
def closed_without_a_token(ctx, response, case):
    security = case.operation.definition.raw.get("security")
    needs = security is None or (security != [] and {} not in security)
    sent = {name.lower() for name in response.request.headers}
    if not needs or sent & {"authorization", "x-agent-token"}:
        return
    # What the document does not name as a method is no endpoint.
    is_endpoint = response.request.method.lower() == case.operation.method.lower()
    expected = {401} if is_endpoint else {401, 405}
    assert response.status_code in expected, f"{response.status_code} without a token"
