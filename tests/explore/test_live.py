"""The server of `cnn explore --live`: what it answers, and what it refuses."""

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import zlib
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin

import cnn
from cnn import zoo
from cnn.cli.predict_images import read_for_model
from cnn.explore import pack_image, randomized, trace
from cnn.explore.live import LIMIT, listen, packed

TIMEOUT = 120


def net():
    cnn.manual_seed(0)
    model = zoo.lenet5()
    model.input_shape = (1, 28, 28)
    return model


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of a page of a small net, from `cnn explore --live` in a process of its own."""
    folder = tmp_path_factory.mktemp("live")
    net().save(folder / "net.safetensors")
    (folder / "shoe.png").write_bytes(png())
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    command = [sys.executable, "-m", "cnn", "explore", "net.safetensors", "--images", "shoe.png", "--live"]
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        yield urlsplit(running.stdout.readline().decode().strip())
        running.send_signal(signal.SIGTERM)
        err = running.communicate(timeout=TIMEOUT)[1].decode()
    assert running.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "interrupted"


def image(size=(40, 30), mode="L", background=0, ink=200):
    made = Image.new(mode, size, background)
    ImageDraw.Draw(made).rectangle((8, 8, size[0] // 2, size[1] - 5), fill=ink)
    return made


def as_bytes(made, kind="PNG", **options):
    stream = io.BytesIO()
    made.save(stream, format=kind, **options)
    return stream.getvalue()


def png(**options):
    return as_bytes(image(**options))


def ask(served, method="GET", path="", body=None, headers=(), **changed):
    """Return the status, the headers and the body of an answer."""
    connection = http.client.HTTPConnection(served.hostname, served.port, timeout=TIMEOUT)
    try:
        connection.request(method, changed.get("whole", served.path + path), body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def send(served, data, name="a.png", label=None, **options):
    query = f"images?name={quote(name)}" + ("" if label is None else f"&label={label}")
    return ask(served, "POST", query, data, **options)


def unpacked(body):
    length = int.from_bytes(body[:4], "little")
    about = json.loads(body[4 : 4 + length])
    return about["image"], about["note"], body[4 + length :]


def refused(served, answer, status, pattern):
    """Check that an answer is one sentence, and that the server still answers others."""
    assert answer[0] == status
    text = answer[2].decode()
    assert re.search(pattern, text)
    assert "\n" not in text
    assert "Traceback" not in text
    assert answer[1]["Content-Type"].startswith("text/plain")
    assert answer[1]["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert served.path.strip("/") not in text
    assert ask(served, "HEAD")[0] == 200


def test_the_page(served):
    status, headers, body = ask(served)
    text = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    assert policy.endswith("; connect-src 'self'")
    assert "unsafe" not in policy
    assert headers["Content-Security-Policy"] == f"{policy}; frame-ancestors 'none'"
    for name, value in {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }.items():
        assert headers[name] == value
    assert not any(name.lower().startswith("access-control") for name in headers)
    assert f'data-live="{{&quot;dark&quot;: true, &quot;limit&quot;: {LIMIT}}}"' in text
    assert served.path.strip("/") not in text


def test_the_file_that_is_written_asks_nobody():
    template = Path(cnn.explore.__file__).with_name("page.html").read_text(encoding="utf-8")
    assert "connect-src" not in template
    assert 'data-live="' not in template


IMAGES = {
    "as large as the input": png(size=(28, 28)),
    "of another size": png(size=(90, 61)),
    "in colour, dark on white": png(mode="RGB", background=(255, 255, 255), ink=(90, 40, 10)),
    "with transparency": png(mode="RGBA", background=(0, 0, 0, 0), ink=(250, 250, 250, 255)),
    "JPEG": as_bytes(image(), "JPEG"),
    "GIF": as_bytes(image(), "GIF"),
}


@pytest.mark.parametrize("data", IMAGES.values(), ids=IMAGES)
def test_an_answer_has_the_numbers_of_the_engine(served, data, tmp_path):
    status, headers, body = send(served, data, "a b.png")
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    entry, note, chunk = unpacked(body)
    model = net()
    (tmp_path / "a b.png").write_bytes(data)
    read = read_for_model(tmp_path / "a b.png", model.input_shape, preprocessing=model.preprocessing)
    assert note == (read.reason if read.inverted else "")
    x = model.preprocess(read.pixels[None])
    expected, expected_chunk = pack_image(model, randomized(model, 0), read.pixels[None], None, "a b.png")
    assert entry == json.loads(json.dumps(expected))
    assert chunk == expected_chunk
    found = trace(model, x)
    p = np.array(entry["probabilities"], np.float32)
    np.testing.assert_array_equal(p, found.probabilities[0])
    np.testing.assert_allclose(p, model.predict_proba(x)[0], rtol=1e-5, atol=1e-7)
    raw = zlib.decompress(chunk, wbits=-15)
    for n, node in enumerate(found.nodes.values()):
        output = np.frombuffer(raw, "<f4", node.output.size, entry["outputs"][n])
        np.testing.assert_array_equal(output, node.output.ravel())


def test_the_true_class_is_that_of_the_loss(served):
    plain, _, _ = unpacked(send(served, png())[2])
    assert (plain["label"], plain["class"]) == (None, plain["predicted"])
    other, _, _ = unpacked(send(served, png(), label=8)[2])
    assert (other["label"], other["class"]) == (8, 8)
    assert other["probabilities"] == plain["probabilities"]
    np.testing.assert_allclose(other["loss"], -np.log(other["probabilities"][8]), rtol=1e-6)


@pytest.mark.parametrize("label", ["10", "-1", "x", "1.5", "9" * 30])
def test_a_true_class_that_there_is_not(served, label):
    refused(served, send(served, png(), label=label), 400, "class id")


@pytest.mark.parametrize("path", ["/", "/images", "/wrong/", "/wrong/images", "/%C3%A9/", "//", "/../"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_no_token_or_a_wrong_one(served, path, method):
    body = png() if method == "POST" else None
    refused(served, ask(served, method, body=body, whole=path), 403, "has not the right token")


@pytest.mark.parametrize("cut", [slice(None, -2), slice(None, 5), slice(1, None)])
def test_a_part_of_the_token(served, cut):
    path = f"/{served.path.strip('/')[cut]}/"
    refused(served, ask(served, whole=path), 403, "has not the right token")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{port}", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_host(served, host, method):
    headers = {"Host": host.format(port=served.port)}
    path = "images" if method == "POST" else ""
    refused(served, ask(served, method, path, png(), headers), 403, "Only the host 127.0.0.1 or localhost")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1", "http://127.0.0.1:1"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_another_origin(served, origin, method):
    headers = {"Origin": origin.format(port=served.port)}
    path = "" if method == "GET" else "images"
    body = png() if method == "POST" else None
    refused(served, ask(served, method, path, body, headers), 403, "Pages of other origins")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_its_own_host_and_origin(served, host):
    headers = {"Host": f"{host}:{served.port}", "Origin": f"http://{host}:{served.port}"}
    assert ask(served, headers=headers)[0] == 200
    assert send(served, png(), headers=headers)[0] == 200


@pytest.mark.parametrize("path", ["x", "images/x", "favicon.ico", "%2e%2e/etc/passwd"])
def test_an_address_without_content(served, path):
    refused(served, ask(served, path=path), 404, "nothing at this address")


@pytest.mark.parametrize(("method", "path"), [("GET", "images"), ("PUT", "images"), ("DELETE", "images"), ("POST", "")])
def test_another_method(served, method, path):
    refused(served, ask(served, method, path), 405, "Images are sent with POST")


def bomb():
    """A PNG file of 100 KB with 20,000 x 20,000 pixels."""
    made = io.BytesIO()
    Image.new("1", (20000, 20000)).save(made, format="PNG")
    return made.getvalue()


def text_bomb():
    """A PNG file with 200 MB of text, deflated."""
    about = PngImagePlugin.PngInfo()
    about.add_text("a", "x" * 200_000_000, zip=True)
    return as_bytes(image(), pnginfo=about)


BROKEN = {
    "nothing": (b"", "is empty"),
    "text": (b"no image", "is not an image that can be read: expected JPEG, PNG"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(50), "convert to JPEG first"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
    "cut short": (as_bytes(image((300, 300)))[:200], "damaged or cut short"),
    "cut JPEG": (as_bytes(image((300, 300)), "JPEG")[:700], "damaged or cut short"),
    "too narrow": (png(size=(2000, 20)), "too narrow"),
    "bomb": (bomb(), "is too large: at most 120,000,000 pixels"),
    "text bomb": (text_bomb(), "damaged or cut short"),
    "floats": (as_bytes(Image.new("F", (20, 20)), "TIFF"), "floating-point"),
}


@pytest.mark.parametrize(("data", "pattern"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_image(served, data, pattern):
    assert len(data) < 400_000
    answer = send(served, data, "b c.png")
    refused(served, answer, 400, pattern)
    assert answer[2].startswith(b"b c.png ")
    assert send(served, png())[0] == 200


def test_a_long_name_is_cut_and_control_characters_are_harmless(served):
    assert len(unpacked(send(served, png(), "x" * 5000)[2])[0]["name"]) == 200
    refused(served, send(served, b"no", "a\n\x1b[31m.png"), 400, "is not an image")


def raw(served, head):
    connection = socket.create_connection((served.hostname, served.port), timeout=TIMEOUT)
    connection.sendall(head.replace("PATH", served.path).replace("HOST", f"127.0.0.1:{served.port}").encode())
    return connection


def answered(connection):
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def test_a_hundred_megabytes_are_refused_before_they_are_sent(served):
    head = "POST PATHimages HTTP/1.1\r\nHost: HOST\r\nContent-Length: 100000000\r\n\r\n"
    with raw(served, head) as connection:
        received = answered(connection)
    assert received.startswith(b"HTTP/1.1 413")
    assert received.endswith(b"The image is too large: at most 32 MB can be sent. Make it smaller first.")
    assert send(served, png())[0] == 200


def test_a_body_of_unknown_length_is_read_only_up_to_the_limit(served):
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    sent = 0
    with raw(served, "POST PATHimages HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n") as connection:
        try:
            while sent < 100_000_000:
                connection.sendall(chunk)
                sent += 65536
        except OSError:  # the server has closed the connection
            pass
    assert LIMIT <= sent < 2 * LIMIT  # what the buffers of the system hold comes on top
    assert send(served, png())[0] == 200


def test_a_request_without_a_token_is_refused_before_its_body(served):
    with raw(served, "POST /images HTTP/1.1\r\nHost: HOST\r\nContent-Length: 30000000\r\n\r\n") as connection:
        assert answered(connection).startswith(b"HTTP/1.1 403")
    assert send(served, png())[0] == 200


MALFORMED = [
    "no request\r\n\r\n",
    "GET PATH HTTP/1.1\r\n\r\n",  # no host
    "GET PATH HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
    "POST PATHimages HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\n",
    "POST PATHimages HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "GET PATH HTTP/1.1\r\nHost: HOST\r\nX: " + "x" * 200_000 + "\r\n\r\n",
]


@pytest.mark.parametrize("head", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_request(served, head):
    with raw(served, head) as connection:
        try:
            received = answered(connection)
        except ConnectionResetError:  # more was sent than was read
            received = b"HTTP/1.1 400"
    assert received.startswith(b"HTTP/1.1 400")
    assert send(served, png())[0] == 200


def test_a_client_that_leaves_in_the_middle(served):
    raw(served, "POST PATHimages HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1000\r\n\r\nabc").close()
    data = png()
    connection = raw(served, f"POST PATHimages HTTP/1.1\r\nHost: HOST\r\nContent-Length: {len(data)}\r\n\r\n")
    connection.sendall(data)
    connection.close()
    assert send(served, png())[0] == 200


def test_a_socket_is_of_this_machine_alone():
    with listen() as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        port = listener.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} cannot be used .*give another one, or leave out --port"):
            listen(port)


def test_numbers_that_json_has_not_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        packed({"loss": float("nan")}, b"")
