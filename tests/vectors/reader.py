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
ELSEWHERE, TRANSIENT, KEPT, BOUND = 0x01, 0x02, 0x04, 0x20
COOKIE_LIMIT, SEALER_LIMIT = 4096, 87_492


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
    prk = hmac_sha256(b"sealed-session/v1", app_key)
    info = b"".join(lp(part.encode()) for part in ("subject", "store", name, context))
    return hmac_sha256(hkdf_expand(prk, info, 32), subject.encode())


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
    limits = {"cookie": room, "header": room, "token": SEALER_LIMIT, "timed": SEALER_LIMIT}
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
    refuse_if(flags & ~(ELSEWHERE | TRANSIENT | BOUND | (KEPT if kind == "store" else 0)), "newer")
    record = {"id": at.take(16).hex(), "flags": flags}
    record |= {time: at.number(6) for time in ("issued_at", "seen_at", "expires_at")}
    if flags & BOUND:
        record["binding"] = at.take(16).hex()
    record["subject"] = at.text()
    record |= {part: at.entries(at.block, limit=1024) for part in ("values", "flashes")}
    at.check(not at.data and len(record["subject"].encode()) <= 64)
    at.check(record["issued_at"] <= record["expires_at"])
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
        case 6: ended = {"id": at.take(16).hex(), "binding": at.take(16).hex(), "until": at.number(6)}
        case _: raise Refused("newer")
    at.check(not at.data and 1 <= len(ended.get("subject", "-").encode()) <= 64)
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


def check_device(kind, found, now_ms, max_lifetime_ms=DAY_MS):
    match kind:
        case "device-proof":
            refuse_if(found["proven_at"] > now_ms + SKEW_MS, "future")
            refuse_if(now_ms >= found["expires_at"], "expired")
        case "device-key":
            refuse_if(found["issued_at"] > now_ms + SKEW_MS, "future")
            refuse_if(now_ms >= found["issued_at"] + max_lifetime_ms, "expired")
        case _:
            refuse_if(now_ms >= found["expires_at"] + SKEW_MS, "expired")
            refuse_if(found["expires_at"] > now_ms + 60_000 + SKEW_MS, "future")


def admit(record, now_ms, max_lifetime_ms=DAY_MS, idle_timeout_ms=None, not_before_ms=0):
    issued, seen = record["issued_at"], record["seen_at"]
    if record["flags"] & KEPT:
        seen = issued  # Until the backend has told for how long it still keeps the record.
    refuse_if(record["flags"] & ELSEWHERE, "elsewhere")
    refuse_if(max(issued, seen) > now_ms + SKEW_MS, "future")
    refuse_if(now_ms >= min(record["expires_at"], issued + max_lifetime_ms), "expired")
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
    return {"store_key": store_key(bytes.fromhex(vector["id"])).hex(), "tag": tag.hex()}


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
