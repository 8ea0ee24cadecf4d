"""What schemathesis has to know of this API beyond its description: bodies that are not JSON, and how they are sent."""

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def sdp(_context, value):
    """Generated text goes out as it is; most of it is no SDP, which must be refused by a 4xx."""
    return str(value).encode("utf-8", "surrogatepass")
