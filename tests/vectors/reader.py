#!/usr/bin/env python3
"""Opens every test vector in this folder with nothing but docs/format.md to go by.

To run it (Python 3.10 or later): pip install cryptography && python3 tests/vectors/reader.py
Prints each disagreement, then `N passed, M failed`; exits with 1 if anything failed.
"""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DAY_MS, SKEW_MS = 24 * 60 * 60 * 1000, 60_000
ELSEWHERE, TRANSIENT, KEPT, FURTHER = 0x01, 0x02, 0x04, 0x10
LOGIN, NAMED, BOUND = 0x01, 0x02, 0x04
COOKIE_LIMIT, SEALER_LIMIT = 4096, 87_492
RING_BYTES, RING_LIMIT = 49_152, 65_639


class Refused(Exception):
    """Its one argument is the reason."""


def refuse_if(condition, reason):
    if condition:
        raise Refused(reason)


def hmac_sha256(key, data):
    return hmac.digest(key, data, "sha256")


def hkdf_expand(prk, info, length):
    out, block = b"", b""
    while len(out) < length:
        block = hmac_sha256(prk, block + info + bytes([len(out) // 32 + 1]))
        out += block
    return out[:length]


def aes256(key, block, inverse=False):
    cipher = Cipher(algorithms.AES(key), modes.ECB())
    return (cipher.decryptor() if inverse else cipher.encryptor()).update(block)


def xaes_key(key, nonce):
    """The AES-256-GCM key for this nonce. The GCM nonce is nonce[12:]."""
    zero = int.from_bytes(aes256(key, bytes(16)), "big")
    k1 = (zero << 1) % 2**128 ^ (0x87 if zero >> 127 else 0)
    inputs = (int.from_bytes(bytes([0, i]) + b"X\0" + nonce[:12], "big") for i in (1, 2))
    return b"".join(aes256(key, (m ^ k1).to_bytes(16, "big")) for m in inputs)


def xaes_open(key, nonce, ciphertext, gcm_tag, aad):
    try:
        return AESGCM(xaes_key(key, nonce)).decrypt(nonce[12:], ciphertext + gcm_tag, aad)
    except InvalidTag:
        raise Refused("corrupt") from None


def lp(data):
    return len(data).to_bytes(2, "big") + data


class Keys:
    def __init__(self, app_key, kind, name, context):
        self.prk = hmac_sha256(b"sealed-session/v1", app_key)
        self.key_id = hkdf_expand(self.prk, lp(b"kid"), 4)
        use = b"".join(lp(part.encode()) for part in (kind, name, context))
        self.enc, self.mac, self.tag = (hkdf_expand(self.prk, lp(x) + use, 32) for x in (b"enc", b"mac", b"tag"))


def store_key(session_id):
    """Under what a backend keeps a session."""
    return hashlib.sha256(b"sealed-session/v1/id" + session_id).digest()


def subject_tag(app_key, name, context, subject):
    """What a backend has of a subject."""
    return hidden("subject", app_key, name, context, subject)


def sid_tag(app_key, name, context, sid):
    """What a backend has of a login at the identity provider."""
    return hidden("sid", app_key, name, context, sid)


def hidden(label, app_key, name, context, text):
    prk = hmac_sha256(b"sealed-session/v1", app_key)
    info = b"".join(lp(part.encode()) for part in (label, "store", name, context))
    return hmac_sha256(hkdf_expand(prk, info, 32), text.encode())


class Token:
    def __init__(self, text):
        refuse_if(not re.fullmatch("[A-Za-z0-9_-]*", text) or len(text) % 4 == 1, "malformed")
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        refuse_if(base64.urlsafe_b64encode(raw).decode().rstrip("=") != text or len(raw) < 77, "malformed")
        self.version, self.key_id, self.nonce = raw[:1], raw[1:5], raw[5:29]
        self.ciphertext, self.tag, self.mac = raw[29:-48], raw[-48:-32], raw[-32:]


def open_token(text, ring, kind, name):
    """The plaintext, and the place in the ring of the key that opened it."""
    size, room = len(text.encode()), COOKIE_LIMIT - len(name.encode())
    limits = {"cookie": room, "header": room, "token": SEALER_LIMIT, "timed": SEALER_LIMIT, "keys": RING_LIMIT}
    refuse_if(size > limits.get(kind, size), "too_long")
    token = Token(text)
    refuse_if(token.version != b"\x01", "unknown_version")
    place = next((i for i, keys in enumerate(ring) if keys.key_id == token.key_id), None)
    refuse_if(place is None, "unknown_key")
    keys, aad = ring[place], token.version + token.key_id
    mac = hmac_sha256(keys.mac, aad + token.nonce + token.tag)
    refuse_if(not hmac.compare_digest(mac, token.mac), "forged")
    gcm_tag = aes256(keys.tag, token.tag, inverse=True)
    return xaes_open(keys.enc, token.nonce, token.ciphertext, gcm_tag, aad), place


class Cursor:
    """Reads from the front. Whatever is out of order is refused, for the one reason given."""

    def __init__(self, data, reason):
        self.data, self.reason = data, reason

    def check(self, condition):
        refuse_if(not condition, self.reason)

    def take(self, length):
        self.check(length <= len(self.data))
        taken, self.data = self.data[:length], self.data[length:]
        return taken

    def number(self, length):
        return int.from_bytes(self.take(length), "big")

    def varint(self, bits=32):
        value, shift, byte = 0, 0, 0x80
        while byte & 0x80:
            self.check(shift < bits)
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
        self.check(value >> bits == 0 and (byte != 0 or shift == 7))
        return value

    def block(self):
        return self.take(self.varint())

    def text(self):
        try:
            return self.block().decode()
        except UnicodeDecodeError:
            raise Refused(self.reason) from None

    def entries(self, read, limit=2**32):
        found, last, count = {}, None, self.varint()
        self.check(count <= limit)
        for _ in range(count):
            key = self.text()
            self.check(last is None or last < key.encode())
            found[key], last = read(), key.encode()
        return found

    def value(self, levels=0):
        tag = self.varint()
        self.check(tag <= 8 and (tag < 7 or levels < 32))
        match tag:
            case 0: return {"null": None}
            case 1: return {"bool": bool(self.varint(bits=1))}
            case 2: return {"unsigned": str(self.varint(bits=64))}
            case 3:
                zigzag = self.varint(bits=64)
                self.check(zigzag % 2 == 1)
                return {"negative": str(-(zigzag // 2) - 1)}
            case 4: return {"float": self.take(8)[::-1].hex()}
            case 5: return {"string": self.text()}
            case 6: return {"bytes": self.block().hex()}
            case 7: return {"list": [self.value(levels + 1) for _ in range(self.varint())]}
            case 8: return {"map": self.entries(lambda: self.value(levels + 1))}


def read_value(data):
    at = Cursor(data, "bad_value")
    value = at.value()
    at.check(not at.data)
    return value


def read_record(plaintext, kind):
    at = Cursor(plaintext, "bad_record")
    refuse_if(at.number(1) != 1, "newer")
    flags = at.number(1)
    refuse_if(flags & ~(ELSEWHERE | TRANSIENT | FURTHER | (KEPT if kind == "store" else 0)), "newer")
    record = {"id": at.take(16).hex(), "flags": flags}
    record |= {time: at.number(6) for time in ("issued_at", "seen_at", "expires_at")}
    further = at.number(1) if flags & FURTHER else 0
    refuse_if(further & ~(LOGIN | NAMED | BOUND), "newer")
    at.check(further or not flags & FURTHER)
    record |= {"logged_in_at": at.number(6)} if further & LOGIN else {}
    record |= {"binding": at.take(16).hex()} if further & BOUND else {}
    record["subject"] = at.text()
    record |= {"label": at.text(), "sid": at.text()} if further & NAMED else {}
    record |= {part: at.entries(at.block, limit=1024) for part in ("values", "flashes")}
    at.check(not at.data and all(len(record.get(name, "").encode()) <= 255 for name in ("subject", "label", "sid")))
    at.check(not further & NAMED or record["label"] + record["sid"])
    at.check(record.get("logged_in_at", 0) <= record["issued_at"] <= record["expires_at"])
    return record


def read_revocation(plaintext):
    at = Cursor(plaintext, "bad_record")
    refuse_if(at.number(1) != 1, "newer")
    match at.number(1):
        case 1: ended = {"id": at.take(16).hex(), "from": at.number(6), "until": at.number(6)}
        case 2: ended = {"moment": at.number(6), "subject": at.take(len(at.data)).decode()}
        case 3: ended = {"moment": at.number(6)}
        case 4: ended = {"longest": at.number(6), "until": at.number(6)}
        case 5: ended = {"id": at.take(16).hex(), "moment": at.number(6), "next": at.take(16).hex()}
        case 6: ended = {"moment": at.number(6), "sid": at.take(len(at.data)).decode()}
        case 7: ended = {"id": at.take(16).hex(), "binding": at.take(16).hex(), "until": at.number(6)}
        case _: raise Refused("newer")
    at.check(not at.data and all(1 <= len(ended.get(name, "-").encode()) <= 255 for name in ("subject", "sid")))
    return ended


def read_device(plaintext, kind):
    """What a token of device binding says, and from when and until when it is good."""
    at = Cursor(plaintext, "bad_record")
    refuse_if(at.number(1) != 1, "newer")
    if kind == "device-challenge":
        purpose = at.number(1)
        refuse_if(purpose not in (1, 2), "newer")
        found = {("session", "binding")[purpose - 1]: at.take(16).hex(), "expires_at": at.number(6)}
    elif kind == "device-offer":
        found = {"session": at.take(16).hex(), "expires_at": at.number(6)}
    elif kind == "device-proof":
        found = {"binding": at.take(16).hex(), "proven_at": at.number(6), "expires_at": at.number(6)}
        if at.data:
            found["session"] = at.take(16).hex()
    else:
        found = {"binding": at.take(16).hex(), "session": at.take(16).hex()}
        refuse_if(at.number(1) != 1, "newer")
        found |= {"point": at.take(33).hex(), "issued_at": at.number(6)}
    at.check(not at.data)
    return found


def check_device(kind, found, now_ms, key_lifetime_ms=DAY_MS):
    match kind:
        case "device-proof":
            refuse_if(found["proven_at"] > now_ms + SKEW_MS, "future")
            refuse_if(now_ms >= found["expires_at"], "expired")
        case "device-key":
            refuse_if(found["issued_at"] > now_ms + SKEW_MS, "future")
            refuse_if(now_ms >= found["issued_at"] + key_lifetime_ms, "expired")
        case _:
            refuse_if(now_ms >= found["expires_at"] + SKEW_MS, "expired")
            refuse_if(found["expires_at"] > now_ms + 60_000 + SKEW_MS, "future")


def read_ring(plaintext):
    """The ring of a key store."""
    def check(condition):
        refuse_if(not condition, "bad_ring")

    def number(text, bits=48):
        check(re.fullmatch("0|[1-9][0-9]*", text) and int(text) < 1 << bits)
        return int(text)

    def moment(text):
        return None if text == "-" else number(text)

    def material(text, key_id):
        check(re.fullmatch("base64:[A-Za-z0-9+/]+={0,2}", text) and len(text) <= 347 and len(text) % 4 == 3)
        app_key = base64.b64decode(text[7:])
        check(len(app_key) >= 32 and base64.b64encode(app_key).decode() == text[7:])
        check(Keys(app_key, "", "", "").key_id.hex() == key_id)
        # Of keys that a person has written, those that these vectors have. A program checks more.
        check(len({(b - a) % 256 for a, b in zip(app_key, app_key[1:])}) > 1)
        return app_key.hex()

    check(len(plaintext) <= RING_BYTES and plaintext.isascii() and plaintext.endswith(b"\n"))
    lines = [line.split(" ") for line in plaintext.decode()[:-1].split("\n")]
    check(len(lines) >= 8 and lines[0][:2] == ["sealed-session", "keys"] and len(lines[0]) == 3)
    ring = {"format": number(lines[0][2])}
    check(ring["format"] >= 1)
    is_newer = ring["format"] > 1
    settings = ["longest", "poll", "propagation", "timeout", "tolerance", "fence"]
    for name, line in zip(settings, lines[1:7]):
        check(line[0] == name and (len(line) == 2 or is_newer and len(line) > 2))
        ring[name] = number(line[1])
    ring["keys"] = keys = []
    for line in lines[7:-1]:
        check(line[0] == "key" or is_newer)
        if line[0] != "key":
            continue
        names = ["made", "from", "stops", "disabled", "revoked", "dropped", "material"]
        check(line[2:16:2] == names and (len(line) == 16 or is_newer and len(line) > 16))
        check(re.fullmatch("[0-9a-f]{8}", line[1]) and (not keys or keys[-1]["id"] < line[1]))
        made, since, stops, disabled, revoked, dropped, text = line[3:16:2]
        key = {"id": line[1], "made": number(made), "from": number(since), "stops": moment(stops),
               "disabled": number(disabled, bits=32), "revoked": moment(revoked), "dropped": moment(dropped),
               "material": None if text == "-" else material(text, line[1])}
        check(key["made"] <= key["from"])
        is_gone = key["revoked"] is not None or key["dropped"] is not None or key["made"] <= ring["fence"]
        check(key["material"] is None or not is_gone)
        keys.append(key)
    end = lines[-1]
    check(end[0] == "end" and (len(end) == 2 or is_newer and len(end) > 2) and number(end[1]) == len(keys))
    check(len(keys) <= 128 and sum(key["material"] is not None for key in keys) <= 16)
    return ring


def admit(record, now_ms, max_lifetime_ms=DAY_MS, idle_timeout_ms=None, not_before_ms=0):
    issued, seen = record["issued_at"], record["seen_at"]
    if record["flags"] & KEPT:
        seen = issued  # Until the backend has told for how long it still keeps the record.
    refuse_if(record["flags"] & ELSEWHERE, "elsewhere")
    refuse_if(max(issued, seen) > now_ms + SKEW_MS, "future")
    began = record.get("logged_in_at", issued)
    refuse_if(now_ms >= min(record["expires_at"], began + max_lifetime_ms), "expired")
    refuse_if(issued < not_before_ms, "cutoff")
    refuse_if(idle_timeout_ms is not None and now_ms >= seen + idle_timeout_ms, "idle")


# From here on: the vectors. What is found bears the names that the files use.
def open_vector(vector):
    kind, name, context = vector["kind"], vector.get("cookie") or vector["purpose"], vector["context"]
    ring = [Keys(bytes.fromhex(key), kind, name, context) for key in vector["ring"]]
    plaintext, place = open_token(vector["token"], ring, kind, name)
    keys, token = ring[place], Token(vector["token"])
    found = {"plaintext": plaintext.hex(), "opened_under": "accepted" if place else "sealing"}
    found |= {"prk": keys.prk.hex(), "key_id": keys.key_id.hex(), "nonce": token.nonce.hex()}
    found |= {"subkeys": {label: getattr(keys, label).hex() for label in ("enc", "mac", "tag")}}
    found |= {"xaes_key": xaes_key(keys.enc, token.nonce).hex()}
    found |= {"gcm_tag": aes256(keys.tag, token.tag, inverse=True).hex()}
    if kind == "token":
        return found | {"data": plaintext.hex()}
    if kind == "timed":
        expires_at = Cursor(plaintext, "bad_record").number(6)
        refuse_if(vector["now_ms"] >= expires_at, "expired")
        return found | {"expires_at": expires_at, "data": plaintext[6:].hex()}
    if kind == "revocation":
        return found | {"ended": read_revocation(plaintext)}
    if kind.startswith("device-"):
        device = read_device(plaintext, kind)
        check_device(kind, device, vector["now_ms"])
        return found | {"device": device}
    if kind == "keys":
        return found | {"held": read_ring(plaintext)}
    record = read_record(plaintext, kind)
    admit(record, **{setting: ms for setting, ms in vector.items() if setting.endswith("_ms")})
    for part in ("values", "flashes"):
        record[part] = {key: read_value(data) for key, data in record[part].items()}
    return found | {"session": record}


PRIMITIVES = {
    "aes_256": lambda v: {"ciphertext": aes256(v["key"], v["plaintext"])},
    "hmac_sha256": lambda v: {"mac": hmac_sha256(v["key"], v["data"])[: len(v["mac"])]},
    "hkdf_sha256": lambda v: {"okm": hkdf_expand(hmac_sha256(v["salt"], v["ikm"]), v["info"], len(v["okm"]))},
    "xaes_256_gcm": lambda v: {"plaintext": xaes_open(v["key"], v["nonce"], v["ciphertext"], v["gcm_tag"], v["aad"])},
}


def backend(vector):
    tag = subject_tag(bytes.fromhex(vector["app_key"]), vector["cookie"], vector["context"], vector["subject"])
    found = {"store_key": store_key(bytes.fromhex(vector["id"])).hex(), "tag": tag.hex()}
    if "sid" in vector:
        tag = sid_tag(bytes.fromhex(vector["app_key"]), vector["cookie"], vector["context"], vector["sid"])
        found["sid_tag"] = tag.hex()
    return found


def outcome(section, vector):
    try:
        if section == "backend":
            return backend(vector)
        if section in PRIMITIVES:
            data = {field: bytes.fromhex(text) for field, text in vector.items() if field not in ("name", "why")}
            return {field: found.hex() for field, found in PRIMITIVES[section](data).items()}
        return open_vector(vector) if "ring" in vector else {"value": read_value(bytes.fromhex(vector["bytes"]))}
    except Refused as refused:
        return {"reason": refused.args[0]}


def main():
    passed = failed = 0
    for path in sorted(Path(__file__).parent.glob("*.json")):
        sections = json.loads(path.read_text())
        for section, vector in ((s, v) for s in sections for v in sections[s] if s != "comment"):
            found = outcome(section, vector)
            wrong = [field for field in found if found[field] != vector.get(field)]
            passed, failed = passed + (not wrong), failed + bool(wrong)
            for field in wrong:
                print(f"{path.name}: {vector['name']}: {field} is {found[field]!r}, not {vector.get(field)!r}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    raise SystemExit(main())
