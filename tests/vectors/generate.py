#!/usr/bin/env python3
"""Writes the test vectors: python3 tests/vectors/generate.py (needs: pip install cryptography).

Every nonce and id is a hash of the vector's name, so each run writes the same bytes. Before a file is
written, reader.py must find in each vector what is stated there. Real tokens take their nonces from the
operating system's random source, one per seal.
"""

import base64
import hashlib
import json
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

sys.dont_write_bytecode = True
from reader import (BOUND, COOKIE_LIMIT, DAY_MS, ELSEWHERE, FURTHER, KEPT, LOGIN, NAMED, RING_BYTES, RING_LIMIT, SEALER_LIMIT, SKEW_MS, TRANSIENT, Keys,
                    aes256, hmac_sha256, outcome, sid_tag, store_key, subject_tag, xaes_key)

HOUR_MS = 60 * 60 * 1000
ISSUED = 1_800_000_000_000
NOW = ISSUED + HOUR_MS
LAST_MS = 2**48 - 1
COOKIE = "__Host-session"


def arithmetic(first, length):
    """The only form of app key used here, because the crate's text forms of a key refuse it."""
    return bytes((first + i) % 256 for i in range(length))


KEY_A, KEY_B, KEY_C = arithmetic(0x00, 32), arithmetic(0x80, 32), arithmetic(0x40, 48)
KEY_64 = arithmetic(0x00, 64)
# Two keys with one key id, found among all arithmetic keys of up to 700 bytes.
TWIN_A, TWIN_B = arithmetic(126, 61), arithmetic(82, 290)


# Encoding


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def block(data):
    data = data.encode() if isinstance(data, str) else data
    return varint(len(data)) + data


def value(typed):
    ((kind, content),) = typed.items()
    match kind:
        case "null": return b"\x00"
        case "bool": return b"\x01" + bytes([content])
        case "unsigned": return b"\x02" + varint(int(content))
        case "negative": return b"\x03" + varint(-2 * int(content) - 1)
        case "float": return b"\x04" + bytes.fromhex(content)[::-1]
        case "string": return b"\x05" + block(content)
        case "bytes": return b"\x06" + block(bytes.fromhex(content))
        case "list": return b"\x07" + varint(len(content)) + b"".join(map(value, content))
        case "map":
            pairs = sorted((key.encode(), item) for key, item in content.items())
            return b"\x08" + varint(len(pairs)) + b"".join(block(key) + value(item) for key, item in pairs)
    raise ValueError(kind)


def entries(pairs):
    """Entries as they come, so that a bad order can be written too."""
    return varint(len(pairs)) + b"".join(block(key) + block(data) for key, data in pairs)


def sorted_entries(typed):
    return entries(sorted((key.encode(), value(item)) for key, item in typed.items()))


def fixed_bytes(label, length):
    return hashlib.sha256(label.encode()).digest()[:length]


def head(name, issued_at=ISSUED, seen_at=ISSUED, expires_at=None, flags=0, further=0, version=1):
    expires_at = issued_at + DAY_MS if expires_at is None else expires_at
    times = b"".join(time.to_bytes(6, "big") for time in (issued_at, seen_at, expires_at))
    flags |= FURTHER if further else 0
    return bytes([version, flags]) + fixed_bytes("id of " + name, 16) + times + bytes([further] if further else [])


def record(name, values=(), flashes=(), subject="", logged_in_at=None, label=None, sid=None, binding=b"", flags=0, **fixed):
    further = (LOGIN if logged_in_at is not None else 0) | (NAMED if label is not None else 0) | (BOUND if binding else 0)
    login = b"" if logged_in_at is None else logged_in_at.to_bytes(6, "big")
    names = block(subject) + (b"" if label is None else block(label) + block(sid))
    return head(name, flags=flags, further=further, **fixed) + login + binding + names + sorted_entries(dict(values)) + sorted_entries(dict(flashes))


# Sealing


def base64url(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def raw(token):
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def assemble(keys, nonce, ciphertext, wire_tag, key_id=None, version=b"\x01"):
    front = version + (key_id or keys.key_id)
    mac = hmac_sha256(keys.mac, front + nonce + wire_tag)
    return base64url(front + nonce + ciphertext + wire_tag + mac)


def seal(name, plaintext, app_key, kind, use, context="", version=b"\x01"):
    """The token and everything on the way to it."""
    keys, nonce = Keys(app_key, kind, use, context), fixed_bytes("nonce of " + name, 24)
    key = xaes_key(keys.enc, nonce)
    sealed = AESGCM(key).encrypt(nonce[12:], plaintext, version + keys.key_id)
    ciphertext, gcm_tag = sealed[:-16], sealed[-16:]
    return {
        "nonce": nonce.hex(),
        "xaes_key": key.hex(),
        "plaintext": plaintext.hex(),
        "gcm_tag": gcm_tag.hex(),
        "token": assemble(keys, nonce, ciphertext, aes256(keys.tag, gcm_tag), version=version),
    }


def derived(app_key, kind, use, context):
    keys = Keys(app_key, kind, use, context)
    return {
        "app_key": app_key.hex(),
        "prk": keys.prk.hex(),
        "key_id": keys.key_id.hex(),
        "subkeys": {label: getattr(keys, label).hex() for label in ("enc", "mac", "tag")},
    }


# sessions.json

NULL, TRUE, FALSE = {"null": None}, {"bool": True}, {"bool": False}
NAN_WITH_PAYLOAD = "7ff8000000abcdef"
# In UTF-16 the last two stand the other way round: d83d dd11 before ff5e.
UNICODE_KEYS = ["", "Z", "a", "aa", "b", "e\u0301", "\u00e9", "\u20ac", "\uff5e", "\U0001f511"]


def integer(number):
    return {"unsigned": str(number)} if number >= 0 else {"negative": str(number)}


def text(content):
    return {"string": content}


def real(number):
    return {"float": struct.pack(">d", number).hex()}


def nested(levels, kinds, innermost):
    """`levels` lists or maps, one in the other, with `innermost` in the last."""
    typed = innermost
    for level in reversed(range(levels)):
        typed = {"list": [typed]} if kinds[level % len(kinds)] == "list" else {"map": {"k": typed}}
    return typed


def session(name, why, *, values=(), flashes=(), subject="", key=KEY_A, ring=None, kind="cookie",
            cookie=COOKIE, context="", now_ms=NOW, settings=(), logged_in_at=None, label=None, sid=None, is_bound=False, **fixed):
    ring = [key] if ring is None else ring
    binding = fixed_bytes("binding of " + name, 16) if is_bound else b""
    plaintext = record(name, values, flashes, subject, logged_in_at, label, sid, binding, **fixed)
    login = {} if logged_in_at is None else {"logged_in_at": logged_in_at}
    bound = {"binding": binding.hex()} if binding else {}
    names = {} if label is None else {"label": label, "sid": sid}
    times = {field: int.from_bytes(plaintext[at : at + 6], "big")
             for field, at in (("issued_at", 18), ("seen_at", 24), ("expires_at", 30))}
    return {
        "name": name,
        "why": why,
        **derived(key, kind, cookie, context),
        "kind": kind,
        "cookie": cookie,
        "context": context,
        **seal(name, plaintext, key, kind, cookie, context),
        "ring": [app_key.hex() for app_key in ring],
        "opened_under": "sealing" if ring[0] == key else "accepted",
        "now_ms": now_ms,
        **dict(settings),
        "session": {"id": plaintext[2:18].hex(), **times, "flags": plaintext[1], **login, **bound, "subject": subject, **names,
                    "values": dict(values), "flashes": dict(flashes)},
    }


def largest_session():
    name = "the largest session"
    room = COOKIE_LIMIT - len(COOKIE)
    plaintext_size = room * 3 // 4 - 77
    filler = plaintext_size - len(record(name, {"a": text(""), "b": TRUE}))
    # The two lengths around the filler take two bytes each once it is longer than 127.
    values = {"a": text("x" * (filler - 2)), "b": TRUE}
    vector = session(name, "name and value are 4096 bytes together: the most that a browser keeps", values=values)
    assert len(COOKIE) + len(vector["token"]) == COOKIE_LIMIT
    return vector


def sessions():
    integers = [0, 1, 127, 128, 16_383, 16_384, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
    negatives = [-1, -64, -65, -8192, -8193, -(2**31), -(2**53), -(2**63) + 1, -(2**63)]
    floats = [real(x) for x in (0.0, -0.0, 1.0, -1.5, 0.1, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"))]
    every_type = {
        "bool": TRUE, "bytes": {"bytes": "00ff80"}, "float": real(1.5), "list": {"list": [NULL, TRUE, text("x")]},
        "map": {"map": {"a": integer(1), "b": NULL}}, "negative": integer(-1), "null": NULL,
        "string": text("text"), "unsigned": integer(42),
    }
    many = {f"{i:x}": integer(i) for i in range(128)}
    return [
        session("empty session", "the shortest record: 39 bytes, so a token of 155 characters"),
        session("every type of value", "one value for each tag", values=every_type),
        session("integers", "both extremes, and both sides of each length of a varint",
                values={"negative": {"list": [integer(n) for n in negatives]},
                        "unsigned": {"list": [integer(n) for n in integers]},
                        "least": integer(-(2**63)), "most": integer(2**64 - 1)}),
        session("floats", "kept bit by bit: the sign of zero, infinities, a NaN with a payload",
                values={"all": {"list": [*floats, {"float": NAN_WITH_PAYLOAD}, {"float": "fff8000000000001"}]},
                        "minus zero": real(-0.0), "nan": {"float": NAN_WITH_PAYLOAD}}),
        session("empty values", "nothing in them, yet each is something other than null",
                values={"bytes": {"bytes": ""}, "list": {"list": []}, "map": {"map": {}}, "string": text("")}),
        session("nested maps", "as a struct within a struct would be stored",
                values={"basket": {"map": {
                    "items": {"list": [{"map": {"id": integer(7), "price": {"map": {"cents": integer(1999)}}}},
                                       {"map": {"id": integer(8), "price": NULL}}]},
                    "owner": {"map": {"address": {"map": {"city": text("K\u00f6ln")}}, "name": text("Ada")}}}}}),
        session("unicode keys", "ascending by UTF-8 bytes, which UTF-16 units and a dictionary sort otherwise",
                values={key: integer(place) for place, key in enumerate(UNICODE_KEYS)}),
        session("unicode keys in a map", "the same order holds inside a value",
                values={"map": {"map": {key: integer(place) for place, key in enumerate(UNICODE_KEYS)}}}),
        session("unicode strings", "no normalisation, no trimming, NUL is a character like any other",
                values={"combining": text("e\u0301"), "nul": text("a\0b"), "space": text(" \t\r\n"),
                        "wide": text("\u65e5\u672c\u8a9e \U0001f511")}),
        session("flashes and subject", "a subject of 64 bytes",
                values={"user_id": integer(42)}, subject="user:" + "0123456789" * 5 + "012345678",
                flashes={"error": text("try again"), "notice": text("saved")}),
        session("subject of 64 bytes in fewer characters", "a length counts bytes of UTF-8", subject="\u00e9" * 32),
        session("transient", "flag 0x02: the cookie goes out without Max-Age", values={"cart": integer(3)}, flags=TRANSIENT),
        session("128 entries", "a count of two bytes", values=many),
        session("1024 entries in each list", "the most that are read; more than a cookie has room for, so kind store",
                kind="store", cookie="sessions",
                values={f"{i:03x}": NULL for i in range(1024)}, flashes={f"{i:03x}": NULL for i in range(1024)}),
        session("sealed under an accepted key", "opens, and is due to be sealed again", ring=[KEY_B, KEY_A]),
        session("sealed under the last of three accepted keys", "the id finds the key, wherever it stands",
                key=KEY_C, ring=[KEY_64, KEY_B, KEY_A, KEY_C], values={"user_id": integer(42)}),
        session("sealed under the sealing key with another accepted", "nothing is due", ring=[KEY_A, KEY_B]),
        session("app key of 64 bytes", "an app key may be longer than 32 bytes", key=KEY_64, values={"user_id": integer(42)}),
        session("app key of 48 bytes", "any length from 32 on", key=KEY_C, values={"user_id": integer(42)}),
        session("context and another cookie name", "both are part of the derivation", cookie="sid", context="shop production",
                values={"user_id": integer(42)}),
        session("context beyond ASCII", "its UTF-8 bytes are what counts", context="b\u00f6rse \u03b2", values={"user_id": integer(42)}),
        session("longest name and context", "255 bytes each", cookie="n" * 255, context="c" * 255),
        session("kind header", "a session that travels in a header", kind="header", cookie="x-session", values={"user_id": integer(42)}),
        session("kind store", "a session as a server store keeps it", kind="store", cookie="sessions", values={"user_id": integer(42)}),
        session("kept by its last use", "flag 0x04: in place of seen_at, how long after its last use the store keeps it",
                kind="store", cookie="sessions", seen_at=HOUR_MS * 3 // 2, flags=KEPT, values={"user_id": integer(42)}),
        session("bound to a device", "further flag 0x04: sixteen bytes name what the session needs", subject="user:42",
                values={"user_id": integer(42)}, is_bound=True),
        session("bound and transient", "flags are independent", values={"cart": integer(3)}, flags=TRANSIENT, is_bound=True),
        session("bound, and kept by its last use", "in a store as in a cookie", kind="store", cookie="sessions",
                seen_at=HOUR_MS * 3 // 2, flags=KEPT, is_bound=True, values={"user_id": integer(42)}),
        session("32 levels of lists", "the deepest that are read", values={"deep": nested(32, ["list"], NULL)}),
        session("32 levels of maps", "the deepest that are read", values={"deep": nested(32, ["map"], NULL)}),
        session("32 levels of both", "lists and maps count alike", values={"deep": nested(32, ["list", "map"], integer(1))}),
        session("an empty list at level 32", "an empty one is a level too", values={"deep": nested(31, ["list"], {"list": []})}),
        largest_session(),
        session("last millisecond before expires_at", "one more is refused", now_ms=ISSUED + HOUR_MS - 1, expires_at=NOW),
        session("last millisecond of the largest lifetime", "the default of 24 hours, though the record asks for more",
                now_ms=ISSUED + DAY_MS - 1, expires_at=ISSUED + 2 * DAY_MS),
        session("last millisecond of a shorter largest lifetime", "a setting of the reader", now_ms=NOW - 1,
                settings={"max_lifetime_ms": HOUR_MS}),
        session("a longer largest lifetime", "then the record's own deadline decides", now_ms=ISSUED + 3 * DAY_MS - 1,
                expires_at=ISSUED + 3 * DAY_MS, settings={"max_lifetime_ms": 7 * DAY_MS}),
        session("issued 60 seconds ahead", "the most that clocks may differ", now_ms=ISSUED - SKEW_MS, seen_at=ISSUED - SKEW_MS),
        session("seen 60 seconds ahead", "the most that clocks may differ", seen_at=NOW + SKEW_MS),
        session("seen before it was issued", "no rule orders these two", seen_at=ISSUED - HOUR_MS),
        session("expires when issued", "well-formed, and lives only while clocks differ", now_ms=ISSUED - 1, expires_at=ISSUED),
        session("issued at the cut-off", "refused are only those issued before it", settings={"not_before_ms": ISSUED}),
        session("last millisecond before idle", "one more is refused", now_ms=NOW + HOUR_MS // 2 - 1, seen_at=NOW,
                settings={"idle_timeout_ms": HOUR_MS // 2}),
        session("seen ahead, with an idle timeout", "time since then is negative, and that is not idle",
                seen_at=NOW + SKEW_MS, settings={"idle_timeout_ms": HOUR_MS // 2}),
        session("all settings at once", "the last millisecond and the first", now_ms=NOW - 1, seen_at=NOW - HOUR_MS // 2,
                settings={"max_lifetime_ms": HOUR_MS, "idle_timeout_ms": HOUR_MS // 2, "not_before_ms": ISSUED}),
        session("the first millisecond of all", "every time but the deadline is zero", issued_at=0, seen_at=0, expires_at=1, now_ms=0),
        session("the last milliseconds of 48 bits", "issued_at and a lifetime do not fit 48 bits together",
                issued_at=LAST_MS - 1, seen_at=LAST_MS - 1, expires_at=LAST_MS, now_ms=LAST_MS - 1),
        session("subject of 255 bytes", "the longest there is", subject="s" * 255),
        session("subject of 255 bytes in fewer characters", "the limit counts bytes of UTF-8", subject="\u00e9" * 127 + "e"),
        session("a login", "further flag 0x01: when somebody last proved who they are, before the subject", subject="user:42",
                values={"user_id": integer(42)}, logged_in_at=ISSUED),
        session("last millisecond of the largest lifetime since a login", "it counts from the login, and not from the later issue",
                logged_in_at=ISSUED - HOUR_MS, now_ms=ISSUED + DAY_MS - HOUR_MS - 1, expires_at=ISSUED + 2 * DAY_MS),
        session("a label and a sid", "further flag 0x02: two more texts after the subject", subject="user:42", label="Firefox on Linux",
                sid="08a5019c-17e1-4977-8f42-65a12843ea02"),
        session("a label alone", "further flag 0x02, and an empty sid", label="phone", sid=""),
        session("a sid alone", "further flag 0x02, and an empty label", label="", sid="s" * 255),
        session("every optional part", "in their order", subject="user:42", label="t\u00e9l\u00e9phone", sid="s1", flags=TRANSIENT,
                logged_in_at=ISSUED, values={"user_id": integer(42)}, flashes={"notice": text("saved")}),
        session("every optional part in a store", "flag 0x04 changes none of them", kind="store", cookie="sessions", subject="user:42",
                label="phone", sid="s1", logged_in_at=ISSUED - HOUR_MS, seen_at=HOUR_MS * 3 // 2, flags=KEPT),
    ]


# refused.json


def refused(reason, name, why, token, *, ring=(KEY_A,), kind="cookie", cookie=COOKIE, context="", now_ms=NOW, **settings):
    return {"name": name, "why": why, "ring": [key.hex() for key in ring], "kind": kind, "cookie": cookie,
            "context": context, "now_ms": now_ms, **settings, "token": token, "reason": reason}


def refused_record(reason, name, why, plaintext, *, kind="cookie", cookie=COOKIE, **more):
    """A genuine token, with a record that must not be admitted."""
    return refused(reason, name, why, seal(name, plaintext, KEY_A, kind, cookie)["token"], kind=kind, cookie=cookie, **more)


def flipped(token, at, bits=0x01):
    changed = bytearray(raw(token))
    changed[at] ^= bits
    return base64url(bytes(changed))


def loosened(token, bits):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1])
    assert last & bits == 0 and raw(token) == raw(token[:-1] + alphabet[last | bits])
    return token[:-1] + alphabet[last | bits]


def genuine(name, values=(), key=KEY_A, kind="cookie", cookie=COOKIE, context=""):
    return seal(name, record(name, values), key, kind, cookie, context)["token"]


def refused_tokens():
    token = genuine("refused tokens", {"user_id": integer(42), "theme": text("dark")})
    other = genuine("refused tokens, another", {"user_id": integer(43), "theme": text("dark")})
    two_loose, four_loose = genuine("two loose bits"), genuine("four loose bits", {"no": NULL})
    dashed = next(t for t in (genuine(f"alphabet {i}") for i in range(99)) if "-" in t and "_" in t)
    assert (len(raw(token)), len(two_loose) % 4, len(four_loose) % 4) == (len(raw(other)), 3, 2)
    plain, middle = raw(token), len(token) // 2
    versions = {n: seal(f"version {n}", record(f"version {n}"), KEY_A, "cookie", COOKIE, version=bytes([n]))["token"]
                for n in (0, 2, 255)}
    keys_a, keys_b = (Keys(key, "cookie", COOKIE, "") for key in (KEY_A, KEY_B))
    relabelled = assemble(keys_a, plain[5:29], plain[29:-48], plain[-48:-32], key_id=keys_b.key_id)
    short = seal("short", b"", KEY_A, "cookie", COOKIE)["token"]
    too_large = record("4097", {"a": text("x" * 2939)})
    return [
        refused_record("too_long", "name and value of 4097 bytes", "one more than a browser keeps", too_large),
        refused("too_long", "value of 4097 characters", "refused before it is decoded", "A" * 4097, cookie="s"),
        refused("too_long", "too long and not base64url", "the length comes first", "=" * 4083),
        refused("too_long", "a header of 4097 bytes", "the same limit", "A" * (4097 - len("x-session")), kind="header", cookie="x-session"),
        refused("malformed", "empty token", "nothing there", ""),
        refused("malformed", "one character", "no length of base64url", "A"),
        refused("malformed", "76 bytes", "one less than an empty plaintext takes", base64url(raw(short)[:76])),
        refused("malformed", "truncated to 102 characters", "one less than the shortest token", token[:102]),
        refused("malformed", "truncated to a length of 4n + 1", "no length of base64url", token[: len(token) // 4 * 4 - 3]),
        refused("malformed", "padding", "a token has none", two_loose + "="),
        refused("malformed", "two characters of padding", "a token has none", four_loose + "=="),
        refused("malformed", "standard alphabet, both characters", "+ and / are not - and _", dashed.replace("-", "+").replace("_", "/")),
        refused("malformed", "standard alphabet, +", "one of them is enough", dashed.replace("-", "+")),
        refused("malformed", "standard alphabet, /", "one of them is enough", dashed.replace("_", "/")),
        refused("malformed", "a space inside", "white space is not skipped", token[:middle] + " " + token[middle:]),
        refused("malformed", "a tab inside", "white space is not skipped", token[:middle] + "\t" + token[middle:]),
        refused("malformed", "a line feed at the end", "white space is not skipped", token + "\n"),
        refused("malformed", "quotes around", "they are not taken off", f'"{token}"'),
        refused("malformed", "one quote at the front", "it is not taken off", '"' + token),
        refused("malformed", "a percent sign in place of a character", "no percent-decoding", token[:middle] + "%" + token[middle + 1 :]),
        refused("malformed", "percent-encoded dash", "no percent-decoding", dashed.replace("-", "%2D", 1)),
        refused("malformed", "a full stop between", "no separator is part of a token", token[:middle] + "." + token[middle:]),
        refused("malformed", "a letter beyond ASCII", "not in the alphabet", token[:middle] + "\u00e9" + token[middle + 1 :]),
        *(refused("malformed", f"loose bits {bits:02b} of two", "the last character must end in zeros", loosened(two_loose, bits))
          for bits in (1, 2, 3)),
        *(refused("malformed", f"loose bits {bits:04b} of four", "the last character must end in zeros", loosened(four_loose, bits))
          for bits in (1, 8, 15)),
        *(refused("unknown_version", f"version {n}", "rightly sealed but for the version", versions[n]) for n in (0, 2, 255)),
        refused("unknown_version", "version 1 changed to 2", "and the mac no longer fits: the version comes first", flipped(token, 0, 3)),
        refused("unknown_version", "another version under an unknown key", "the version comes first", flipped(token, 0, 3), ring=(KEY_B,)),
        refused("unknown_key", "sealed under a key that the ring lacks", "no other key is tried", token, ring=(KEY_B,)),
        refused("unknown_key", "sealed under a key that a longer ring lacks", "no other key is tried", token, ring=(KEY_B, KEY_C, KEY_64)),
        *(refused("unknown_key", f"one bit of the key id flipped, byte {at}", "leads to no key", flipped(token, at)) for at in (1, 4)),
        refused("forged", "key id of another key of the ring", "its mac key is another", base64url(plain[:1] + keys_b.key_id + plain[5:]),
                ring=(KEY_A, KEY_B)),
        refused("forged", "key id of another key of the ring, mac made anew", "the mac was made with the first key", relabelled,
                ring=(KEY_A, KEY_B)),
        refused("forged", "first byte of the mac", "all 32 bytes are compared", flipped(token, -32)),
        refused("forged", "last byte of the mac", "all 32 bytes are compared", flipped(token, -1, 0x80)),
        refused("forged", "first byte of the nonce", "the mac covers it", flipped(token, 5)),
        refused("forged", "last byte of the nonce", "the mac covers it", flipped(token, 28)),
        refused("forged", "first byte of the tag", "the mac covers it", flipped(token, -48)),
        refused("forged", "last byte of the tag", "the mac covers it", flipped(token, -33)),
        refused("forged", "tag and ciphertext both changed", "the mac comes first", flipped(flipped(token, -48), 29)),
        refused("forged", "truncated by three bytes", "tag and mac move", base64url(plain[:-3])),
        refused("forged", "three bytes appended", "tag and mac move", base64url(plain + bytes(3))),
        refused("forged", "77 zero bytes with a known version and id", "the shortest token that gets as far as the mac",
                base64url(plain[:5] + bytes(72))),
        refused("forged", "the mac of another token", "both genuine", base64url(plain[:-32] + raw(other)[-32:])),
        refused("forged", "token of another cookie", "the name is in the derivation", genuine("other name", cookie="__Host-other")),
        refused("forged", "token of a cookie whose name differs in case", "names are bytes", genuine("other case", cookie="__host-session")),
        refused("forged", "token of another context", "the context is in the derivation", genuine("other context", context="staging")),
        refused("forged", "token without the reader's context", "the context is in the derivation", token, context="staging"),
        refused("forged", "name and context cut elsewhere", "lengths keep apart what would join to the same bytes",
                genuine("cut", cookie="ab", context="c"), cookie="a", context="bc"),
        refused("forged", "a header's token as a cookie", "the kind is in the derivation", genuine("as header", kind="header")),
        refused("forged", "a store's token as a cookie", "the kind is in the derivation", genuine("as store", kind="store")),
        refused("forged", "a cookie's token in a store", "the kind is in the derivation", token, kind="store"),
        refused("forged", "a Sealer's token as a cookie", "the kind is in the derivation", genuine("as token", kind="token")),
        refused("corrupt", "first byte of the ciphertext", "which only GCM covers", flipped(token, 29)),
        refused("corrupt", "last byte of the ciphertext", "which only GCM covers", flipped(token, -49, 0x80)),
        refused("corrupt", "ciphertext of another token", "spliced into a genuine one", base64url(plain[:29] + raw(other)[29:-48] + plain[-48:])),
        refused("corrupt", "one byte of the ciphertext cut out", "mac and tag are whole", base64url(plain[:29] + plain[30:])),
        refused("corrupt", "one byte added to the ciphertext", "mac and tag are whole", base64url(plain[:-48] + b"\0" + plain[-48:])),
        refused("corrupt", "all of the ciphertext cut out", "mac and tag are whole", base64url(plain[:29] + plain[-48:])),
    ]


def refused_records():
    empty = b"\0\0\0"  # subject, values, flashes
    start = head("bad record")

    def bad(name, why, tail, fixed=start, **more):
        return refused_record("bad_record", name, why, fixed + tail, **more)

    def newer(name, why, plaintext):
        return refused_record("newer", name, why, plaintext)

    null, past = value(NULL), head("past", issued_at=ISSUED - 9 * DAY_MS)
    crowd = entries([(f"{i:03x}", null) for i in range(1025)])
    return [
        bad("empty record", "not even a version", b"", fixed=b""),
        bad("version only", "no flags", b"", fixed=start[:1]),
        bad("version and flags only", "no id", b"", fixed=start[:2]),
        bad("ends within the times", "35 of the 36 bytes", b"", fixed=start[:35]),
        bad("ends before the subject", "nothing follows the times", b""),
        bad("ends before the values", "only a subject", empty[:1]),
        bad("ends before the flashes", "flashes may be none, but are not left out", empty[:2]),
        bad("one byte left over", "a record ends with its flashes", empty + b"\0"),
        bad("another record left over", "a record ends with its flashes", empty + start + empty),
        bad("overlong subject length", "0 in two bytes", b"\x80\0\0\0"),
        bad("overlong count of values", "0 in two bytes", b"\0\x80\0\0"),
        bad("overlong count of flashes", "0 in two bytes", b"\0\0\x80\0"),
        bad("overlong key length", "1 in two bytes", b"\0\x01\x81\0k" + block(null) + b"\0"),
        bad("overlong value length", "1 in five bytes", b"\0\x01\x01k\x81\x80\x80\x80\0" + null + b"\0"),
        bad("count of six bytes", "no number of 32 bits is that long", b"\0\x80\x80\x80\x80\x80\x01\0"),
        bad("count of 2^32", "five bytes, but 33 bits", b"\0\x80\x80\x80\x80\x10\0"),
        bad("count without an end", "every byte promises another", b"\0" + b"\xff" * 4),
        bad("count of 1025 and nothing else", "over the limit of 1024", b"\0" + varint(1025)),
        bad("count of 1024 and nothing else", "allowed, but not there", b"\0" + varint(1024) + b"\0"),
        bad("count of 2^30", "promises what is not there", b"\0" + varint(2**30) + b"\0"),
        bad("count of 2^32 - 1", "promises what is not there", b"\0" + varint(2**32 - 1) + b"\0"),
        bad("1025 values", "all there and in order, but over the limit", b"\0" + crowd + b"\0", kind="store", cookie="sessions"),
        bad("1025 flashes", "all there and in order, but over the limit", b"\0\0" + crowd, kind="store", cookie="sessions"),
        bad("subject of 256 bytes", "one over the limit", block("s" * 256) + b"\0\0"),
        bad("subject of 255 characters in 256 bytes", "bytes are counted", block("s" * 254 + "\u00e9") + b"\0\0"),
        bad("subject that is no UTF-8", "0xff never occurs in it", block(b"\xff") + b"\0\0"),
        bad("ends before the further flags", "only the times", b"", fixed=head("no further flags", flags=FURTHER)),
        bad("further flags that are not there", "none is set", b"\0" + empty, fixed=head("further flags of zero", flags=FURTHER)),
        bad("ends within the login", "five of its six bytes", bytes(5), fixed=head("half a login", further=LOGIN)),
        bad("login after the issue", "by one millisecond", (ISSUED + 1).to_bytes(6, "big") + empty, fixed=head("late login", further=LOGIN)),
        bad("names that are not there", "an empty label and an empty sid take no flag", b"\0\0" + empty, fixed=head("no names", further=NAMED)),
        bad("ends before the sid", "only subject and label", b"\0" + block("phone"), fixed=head("no sid", further=NAMED)),
        bad("label of 256 bytes", "one over the limit", b"\0" + block("l" * 256) + empty, fixed=head("long label", further=NAMED)),
        bad("sid of 256 bytes", "one over the limit", b"\0\0" + block("s" * 256) + b"\0\0", fixed=head("long sid", further=NAMED)),
        bad("label that is no UTF-8", "0xff never occurs in it", b"\0" + block(b"\xff") + empty, fixed=head("bad label", further=NAMED)),
        bad("sid that is no UTF-8", "0xff never occurs in it", b"\0\0" + block(b"\xff") + b"\0\0", fixed=head("bad sid", further=NAMED)),
        bad("subject longer than the record", "promises what is not there", b"\x40abc"),
        bad("subject of 2^32 - 1 bytes", "promises what is not there", varint(2**32 - 1) + b"\0\0"),
        bad("key longer than the record", "promises what is not there", b"\0\x01\x7fk"),
        bad("key of 2^31 bytes", "promises what is not there", b"\0\x01" + varint(2**31) + b"k\x01\0\0"),
        bad("value longer than the record", "by one byte", b"\0\x01\x01k\x03\0\0"),
        bad("value of 2^32 - 1 bytes", "promises what is not there", b"\0\x01\x01k" + varint(2**32 - 1) + b"\0\0"),
        bad("unsorted keys", "b before a", b"\0" + entries([("b", null), ("a", null)]) + b"\0"),
        bad("unsorted keys, the shorter last", "ab before a", b"\0" + entries([("ab", null), ("a", null)]) + b"\0"),
        bad("keys sorted by length", "b before aa", b"\0" + entries([("b", null), ("aa", null)]) + b"\0"),
        bad("keys sorted by UTF-16", "right by its units, wrong by bytes",
            b"\0" + entries([("\U0001f511", null), ("\uff5e", null)]) + b"\0"),
        bad("duplicate keys", "with one value", b"\0" + entries([("a", null), ("a", null)]) + b"\0"),
        bad("duplicate empty keys", "empty is a key too", b"\0" + entries([("", null), ("", null)]) + b"\0"),
        bad("unsorted flashes", "the same rule", b"\0\0" + entries([("b", null), ("a", null)])),
        bad("duplicate flashes", "the same rule", b"\0\0" + entries([("a", null), ("a", value(TRUE))])),
        bad("key that is no UTF-8", "0xff never occurs in it", b"\0" + entries([(b"\xff", null)]) + b"\0"),
        bad("key with a surrogate", "UTF-8 has none", b"\0" + entries([(b"\xed\xa0\x80", null)]) + b"\0"),
        bad("key with an overlong NUL", "UTF-8 is minimal", b"\0" + entries([(b"\xc0\x80", null)]) + b"\0"),
        bad("key that ends within a character", "one byte of two", b"\0" + entries([(b"\xc3", null)]) + b"\0"),
        bad("flash key that is no UTF-8", "the same rule", b"\0\0" + entries([(b"\xff", null)])),
        bad("expires before it was issued", "by one millisecond", empty, fixed=head("before", expires_at=ISSUED - 1)),
        bad("bad record that has expired too", "the record is read before its times are judged", empty + b"\0", fixed=past),
        bad("bad record with its values elsewhere", "the flag does not excuse the rest", empty + b"\0", fixed=head("bad stub", flags=ELSEWHERE)),
        bad("bound without a binding", "the subject is read as its first byte", empty, fixed=head("no binding", further=BOUND)),
        bad("bound, with a binding of 15 bytes", "one is missing", bytes(13) + empty[:2], fixed=head("short binding", further=BOUND)),
        *(newer(f"format version {n}", "only 1 is known", record(f"format {n}", version=n)) for n in (0, 2, 255)),
        *(newer(f"flag {flag:#04x}", "not known", record(f"flag {flag}", flags=flag)) for flag in (0x04, 0x40, 0x80)),
        newer("an unknown flag beside the known ones", "one is enough", record("flags", flags=0xFF)),
        newer("an unknown further flag", "not known", head("further flag", further=0x08) + empty),
        newer("an unknown further flag beside the known ones, and nothing else", "what comes after it is not looked at",
              head("further flags", further=0xFF)),
        newer("format version 2 and another layout", "the rest is not looked at", b"\x02" + fixed_bytes("another layout", 9)),
        newer("format version 2 and nothing else", "the version is enough", b"\x02"),
        newer("an unknown flag and nothing else", "version and flags are enough", b"\x01\x04"),
        newer("an unknown flag and an expired record", "read before the times", record("newer and past", issued_at=0, flags=0x08)),
        refused_record("elsewhere", "values elsewhere", "a store of cookies alone has no backend", record("stub", flags=ELSEWHERE)),
        refused_record("elsewhere", "values elsewhere, transient", "both flags",
                       record("transient stub", subject="user:42", flags=ELSEWHERE | TRANSIENT)),
        refused_record("elsewhere", "values elsewhere, expired", "the flag comes before the times",
                       record("expired stub", issued_at=ISSUED - 9 * DAY_MS, flags=ELSEWHERE)),
    ]


def refused_times():
    idle = {"idle_timeout_ms": HOUR_MS // 2}

    def times(reason, name, why, now_ms=NOW, settings=(), **fixed):
        return refused_record(reason, name, why, record(name, **fixed), now_ms=now_ms, **dict(settings))

    return [
        times("future", "issued 60.001 seconds ahead", "one millisecond too much", now_ms=ISSUED - SKEW_MS - 1),
        times("future", "seen 60.001 seconds ahead", "one millisecond too much", seen_at=NOW + SKEW_MS + 1),
        times("future", "clock moved back by an hour", "what was just sealed is from the future", now_ms=ISSUED - HOUR_MS),
        times("future", "clock moved back to zero", "as after a lost battery", now_ms=0),
        times("future", "issued at the end of 48 bits", "no overflow", issued_at=LAST_MS, seen_at=LAST_MS, expires_at=LAST_MS),
        times("future", "seen at the end of 48 bits", "no overflow", seen_at=LAST_MS),
        times("future", "seen ahead and expired", "the future comes first", seen_at=NOW + HOUR_MS, expires_at=ISSUED),
        times("expired", "at expires_at", "the deadline itself is too late", expires_at=NOW),
        times("expired", "long after expires_at", "a replay", now_ms=ISSUED + 400 * DAY_MS),
        times("expired", "at the largest lifetime", "the default of 24 hours, though the record asks for more",
              now_ms=ISSUED + DAY_MS, expires_at=ISSUED + 2 * DAY_MS),
        times("expired", "expires at the end of 48 bits", "the largest lifetime holds all the same", issued_at=0, seen_at=0, expires_at=LAST_MS),
        times("expired", "now at the end of 48 bits", "no overflow", now_ms=LAST_MS, issued_at=LAST_MS, seen_at=LAST_MS, expires_at=LAST_MS),
        times("expired", "now past the end of 48 bits", "no wrapping round to zero", now_ms=LAST_MS + 2, seen_at=0,
              issued_at=LAST_MS - 1, expires_at=LAST_MS),
        times("expired", "everything at zero", "a deadline of zero has passed at zero", now_ms=0, issued_at=0, seen_at=0, expires_at=0),
        times("expired", "at a shorter largest lifetime", "a setting of the reader, effective at once", settings={"max_lifetime_ms": HOUR_MS}),
        times("expired", "at the largest lifetime since a login", "a new id does not begin it anew", logged_in_at=ISSUED - HOUR_MS,
              now_ms=ISSUED + DAY_MS - HOUR_MS, expires_at=ISSUED + 2 * DAY_MS),
        times("cutoff", "issued before the cut-off, whenever the login", "issue counts, not the login", logged_in_at=ISSUED - HOUR_MS,
              settings={"not_before_ms": ISSUED + 1}),
        times("expired", "seen lately, but expired", "no refresh moves the deadline", now_ms=ISSUED + DAY_MS, seen_at=ISSUED + DAY_MS - 1,
              settings=idle),
        times("expired", "expired and issued before the cut-off", "expired comes first", expires_at=NOW,
              settings={"not_before_ms": NOW}),
        times("cutoff", "issued one millisecond before the cut-off", "the first that is refused", settings={"not_before_ms": ISSUED + 1}),
        times("cutoff", "seen since the cut-off", "issue counts, not use", seen_at=NOW, settings={"not_before_ms": ISSUED + 60_000}),
        times("cutoff", "issued before the cut-off and idle", "the cut-off comes first", settings={"not_before_ms": NOW, **idle}),
        times("idle", "idle to the millisecond", "the first that is refused", now_ms=NOW + HOUR_MS // 2, seen_at=NOW, settings=idle),
        times("idle", "idle for long", "well within its lifetime", now_ms=ISSUED + 20 * HOUR_MS, settings=idle),
    ]


def bad_values():
    deep = {kinds: value(nested(33, kinds, NULL)) for kinds in (("list",), ("map",), ("list", "map"))}
    cases = [
        ("no bytes at all", "not even a tag", b""),
        ("tag 9", "the first unknown one", b"\x09"),
        ("tag 127", "unknown", b"\x7f"),
        ("tag 2^32 - 1", "unknown", varint(2**32 - 1)),
        ("overlong tag", "null in two bytes", b"\x80\0"),
        ("tag of six bytes", "too long for 32 bits", b"\x80\x80\x80\x80\x80\0"),
        ("null and one byte more", "left over", b"\0\0"),
        ("bool without a byte", "ends early", b"\x01"),
        ("bool 2", "neither false nor true", b"\x01\x02"),
        ("bool 255", "neither false nor true", b"\x01\xff"),
        ("bool in two bytes", "true is 01 alone", b"\x01\x81\0"),
        ("unsigned without a byte", "ends early", b"\x02"),
        ("unsigned 0 in two bytes", "overlong", b"\x02\x80\0"),
        ("unsigned 127 in two bytes", "overlong", b"\x02\xff\0"),
        ("unsigned 1 in ten bytes", "overlong", b"\x02\x81" + b"\x80" * 8 + b"\0"),
        ("unsigned 2^64", "the tenth byte may be 1 at most", b"\x02" + b"\x80" * 9 + b"\x02"),
        ("unsigned of eleven bytes", "ten are the most", b"\x02" + b"\xff" * 10 + b"\x01"),
        ("unsigned without an end", "every byte promises another", b"\x02\xff\xff"),
        ("negative 0", "must be below zero", b"\x03\0"),
        ("negative 1", "must be below zero: unsigned is its only form", b"\x03\x02"),
        ("negative 2^63 - 1", "must be below zero", b"\x03" + varint(2**64 - 2)),
        ("negative -1 in two bytes", "overlong", b"\x03\x81\0"),
        ("negative beyond 64 bits", "the tenth byte may be 1 at most", b"\x03" + b"\xff" * 9 + b"\x03"),
        ("float of seven bytes", "ends early", b"\x04" + bytes(7)),
        ("float of nine bytes", "left over", b"\x04" + bytes(9)),
        ("string beyond the end", "by one byte", b"\x05\x04abc"),
        ("string of 2^32 - 1 bytes", "promises what is not there", b"\x05" + varint(2**32 - 1) + b"a"),
        ("string of 2^32 bytes", "a length has 32 bits", b"\x05\x80\x80\x80\x80\x10"),
        ("string with an overlong length", "1 in two bytes", b"\x05\x81\0a"),
        ("string and one byte more", "left over", b"\x05\x01ab"),
        ("string that is no UTF-8", "0xff never occurs in it", b"\x05\x01\xff"),
        ("string with a surrogate", "UTF-8 has none", b"\x05\x03\xed\xa0\x80"),
        ("string with an overlong slash", "UTF-8 is minimal", b"\x05\x02\xc0\xaf"),
        ("string beyond the last code point", "10ffff is the last", b"\x05\x04\xf4\x90\x80\x80"),
        ("bytes beyond the end", "by one byte", b"\x06\x02a"),
        ("bytes with an overlong length", "0 in two bytes", b"\x06\x80\0"),
        ("list that ends early", "one of two", b"\x07\x02\0"),
        ("list and one value more", "left over", b"\x07\x01\0\0"),
        ("list of 2^30", "five bytes that promise a gigabyte", b"\x07" + varint(2**30)),
        ("list of 2^32 - 1", "promises what is not there", b"\x07" + varint(2**32 - 1)),
        ("list with an overlong count", "0 in two bytes", b"\x07\x80\0"),
        ("list with a bad value", "each is checked", b"\x07\x02\0\x09"),
        ("map that ends early", "one of two", b"\x08\x02\x01a\0"),
        ("map that ends after a key", "no value", b"\x08\x01\x01a"),
        ("map of 2^30", "five bytes that promise a gigabyte", b"\x08" + varint(2**30)),
        ("map with an overlong count", "0 in two bytes", b"\x08\x80\0"),
        ("map with an overlong key length", "1 in two bytes", b"\x08\x01\x81\0a\0"),
        ("map with unsorted keys", "b before a", b"\x08\x02\x01b\0\x01a\0"),
        ("map sorted by length", "b before aa", b"\x08\x02\x01b\0\x02aa\0"),
        ("map sorted by UTF-16", "right by its units, wrong by bytes", b"\x08\x02" + block("\U0001f511") + b"\0" + block("\uff5e") + b"\0"),
        ("map with a duplicate key", "with two values", b"\x08\x02\x01a\x01\0\x01a\x01\x01"),
        ("map with a key that is no UTF-8", "0xff never occurs in it", b"\x08\x01\x01\xff\0"),
        ("map in a list with unsorted keys", "the rule holds at every level", b"\x07\x01\x08\x02\x01b\0\x01a\0"),
        ("33 levels of lists", "one too many", deep["list",]),
        ("33 levels of maps", "one too many", deep["map",]),
        ("33 levels of both", "one too many", deep["list", "map"]),
        ("an empty list at level 33", "empty, but a level", value(nested(32, ["list"], {"list": []}))),
        ("an empty map at level 33", "empty, but a level", value(nested(32, ["map"], {"map": {}}))),
        ("1000 levels", "refused at level 33, without recursion to the end", b"\x07\x01" * 1000 + b"\0"),
        ("1000 levels that end early", "nothing at the bottom", b"\x07\x01" * 1000),
    ]
    return [{"name": name, "why": why, "bytes": data.hex(), "reason": "bad_value"} for name, why, data in cases]


# sealer.json


def sealed(name, why, data, *, expires_at=None, key=KEY_A, ring=None, purpose="email confirmation", context="", now_ms=NOW):
    kind = "token" if expires_at is None else "timed"
    plaintext = data if expires_at is None else expires_at.to_bytes(6, "big") + data
    ring = [key] if ring is None else ring
    timed = {} if expires_at is None else {"now_ms": now_ms, "expires_at": expires_at}
    return {
        "name": name, "why": why, **derived(key, kind, purpose, context), "kind": kind, "purpose": purpose, "context": context,
        **seal(name, plaintext, key, kind, purpose, context), "ring": [app_key.hex() for app_key in ring],
        "opened_under": "sealing" if ring[0] == key else "accepted", **timed, "data": data.hex(),
    }


def sealer_vectors():
    assert len(base64url(bytes(77 + 6 + 65_536))) == SEALER_LIMIT
    return [
        sealed("empty token", "the shortest of all tokens: 77 bytes, 103 characters", b""),
        sealed("token", "the bytes and nothing else", b"ada@example.org"),
        sealed("token of every byte", "any bytes may be sealed", bytes(range(256))),
        sealed("token of 1000 bytes", "longer than one block of anything", hashlib.shake_128(b"1000").digest(1000)),
        sealed("token under an accepted key", "opens like any other", b"ada@example.org", ring=[KEY_B, KEY_A]),
        sealed("token under a key of 64 bytes", "any length from 32 on", b"ada@example.org", key=KEY_64),
        sealed("shortest purpose", "one byte", b"x", purpose="p"),
        sealed("purpose beyond ASCII", "its UTF-8 bytes are what counts", b"x", purpose="\u00fcberweisung"),
        sealed("token with a context", "part of the derivation, as for a cookie", b"x", context="shop"),
        sealed("longest purpose and context", "255 bytes each", b"x", purpose="p" * 255, context="c" * 255),
        sealed("timed with a context", "part of the derivation", b"x", context="shop", expires_at=NOW + HOUR_MS),
        sealed("timed", "the deadline is the first six bytes", b"ada@example.org", expires_at=NOW + HOUR_MS),
        sealed("timed and empty", "a deadline and nothing else", b"", expires_at=NOW + HOUR_MS),
        sealed("timed, the last millisecond", "one more is refused", b"x", expires_at=NOW + 1),
        sealed("timed, the last deadline", "the end of 48 bits", b"x", expires_at=LAST_MS, now_ms=LAST_MS - 1),
        sealed("timed under an accepted key", "opens like any other", b"x", expires_at=NOW + HOUR_MS, ring=[KEY_B, KEY_A]),
    ]


def sealer_refused():
    purpose = "email confirmation"
    good, deadline = b"ada@example.org", (NOW + HOUR_MS).to_bytes(6, "big")

    def bad(reason, name, why, kind, token, *, ring=(KEY_A,), purpose=purpose, context="", now_ms=NOW):
        timed = {"now_ms": now_ms} if kind == "timed" else {}
        return {"name": name, "why": why, "ring": [key.hex() for key in ring], "kind": kind, "purpose": purpose,
                "context": context, **timed, "token": token, "reason": reason}

    def make(name, plaintext, kind, use=purpose, **more):
        return seal(name, plaintext, KEY_A, kind, use, **more)["token"]

    token, timed = make("sealer token", good, "token"), make("sealer timed", deadline + good, "timed")
    return [
        bad("malformed", "empty", "nothing there", "token", ""),
        bad("malformed", "padding", "a token has none", "token", make("sealer padding", b"", "token") + "="),
        bad("unknown_version", "version 2", "only 1 is known", "token", make("sealer version", good, "token", version=b"\x02")),
        bad("unknown_key", "a key that the ring lacks", "no other key is tried", "token", token, ring=(KEY_B,)),
        bad("forged", "a cookie's token, and the cookie's name for a purpose", "the kind keeps them apart", "token",
            genuine("sealer and cookie"), purpose=COOKIE),
        bad("forged", "a cookie's token as timed", "the kind keeps them apart", "timed", genuine("timed and cookie"), purpose=COOKIE),
        bad("forged", "another purpose", "the purpose is in the derivation", "token", token, purpose="password reset"),
        bad("forged", "a longer purpose", "the purpose is in the derivation", "token", token, purpose=purpose + "s"),
        bad("forged", "a timed token as a plain one", "its deadline would be read as data", "token", timed),
        bad("forged", "a plain token as a timed one", "its data would be read as a deadline", "timed", token),
        bad("forged", "with a context", "the context is in the derivation", "token", make("sealer context", good, "token", context="shop")),
        bad("forged", "without the reader's context", "the context is in the derivation", "token", token, context="shop"),
        bad("forged", "timed, of another context", "the context is in the derivation", "timed", timed, context="shop"),
        bad("forged", "last byte of the mac", "all 32 bytes are compared", "token", flipped(token, -1)),
        bad("corrupt", "first byte of the ciphertext", "which only GCM covers", "token", flipped(token, 29)),
        bad("corrupt", "first byte of the deadline", "which only GCM covers", "timed", flipped(timed, 29)),
        bad("bad_record", "timed without a deadline", "no bytes where six must be", "timed", make("no deadline", b"", "timed")),
        bad("bad_record", "timed with half a deadline", "five bytes where six must be", "timed", make("half", deadline[:5], "timed")),
        bad("expired", "at the deadline", "the deadline itself is too late", "timed", make("at", deadline + good, "timed"), now_ms=NOW + HOUR_MS),
        bad("expired", "long after the deadline", "a replay", "timed", timed, now_ms=NOW + 400 * DAY_MS),
        bad("expired", "a deadline of zero", "the first of all", "timed", make("zero", bytes(6), "timed"), now_ms=0),
        bad("expired", "the last deadline", "the end of 48 bits", "timed", make("end", b"\xff" * 6, "timed"), now_ms=LAST_MS),
    ]


# collision.json: GHASH is linear, so whoever knows two keys can solve for a ciphertext that suits both.


def field_multiply(x, y):
    """In GF(2^128) with GCM's order of bits."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def field_power(x, exponent):
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = field_multiply(result, x)
        x, exponent = field_multiply(x, x), exponent >> 1
    return result


def field_divide(x, y):
    return field_multiply(x, field_power(y, 2**128 - 2))


class Gcm:
    """What AES-256-GCM computes under one key and nonce, each part apart."""

    def __init__(self, key, nonce, aad, blocks):
        self.hash_key = int.from_bytes(aes256(key, bytes(16)), "big")
        self.tag_mask = int.from_bytes(aes256(key, nonce + b"\0\0\0\x01"), "big")
        self.keystream = AESGCM(key).encrypt(nonce, bytes(16 * blocks), None)[:-16]
        self.aad, self.blocks = aad, blocks

    def weight(self, place):
        """The power of the hash key that multiplies the ciphertext block at this place."""
        return field_power(self.hash_key, self.blocks - place + 1)

    def tag(self, ciphertext):
        lengths = struct.pack(">QQ", 8 * len(self.aad), 8 * len(ciphertext))
        hashed, data = 0, self.aad.ljust(16, b"\0") + ciphertext + lengths
        for at in range(0, len(data), 16):
            hashed = field_multiply(hashed ^ int.from_bytes(data[at : at + 16], "big"), self.hash_key)
        return hashed ^ self.tag_mask


def xor(x, y):
    return bytes(a ^ b for a, b in zip(x, y, strict=True))


def collisions():
    purpose, blocks = "collision", 6
    keys = [Keys(key, "token", purpose, "") for key in (TWIN_A, TWIN_B)]
    assert keys[0].key_id == keys[1].key_id
    aad = b"\x01" + keys[0].key_id
    shared = {"kind": "token", "purpose": purpose, "context": ""}
    opens, refuses, gcm_only = [], [], []

    def add(name, nonce, ciphertext, tags):
        for side, other in ((0, 1), (1, 0)):
            app_key, wire_tag = (TWIN_A, TWIN_B)[side], aes256(keys[side].tag, tags[side])
            key, label = xaes_key(keys[side].enc, nonce), "ab"[side]
            plaintext = AESGCM(key).decrypt(nonce[12:], ciphertext + tags[side], aad)
            token = assemble(keys[side], nonce, ciphertext, wire_tag)
            opens.append({
                "name": f"{name}, sealed under {label}", "why": "genuine for this key", **derived(app_key, "token", purpose, ""),
                **shared, "nonce": nonce.hex(), "xaes_key": key.hex(), "plaintext": plaintext.hex(), "gcm_tag": tags[side].hex(),
                "token": token, "ring": [app_key.hex()], "opened_under": "sealing", "data": plaintext.hex()})
            refuses.append({
                "name": f"{name}, sealed under {label} and opened under {'ab'[other]}",
                "why": "the key id fits and GCM would open it: only the mac tells", **shared,
                "ring": [(TWIN_A, TWIN_B)[other].hex()], "token": token, "reason": "forged"})
            gcm_only.append({
                "name": f"{name}, GCM alone under {label}", "why": "a valid tag under each of the two keys",
                "key": keys[side].enc.hex(), "nonce": nonce.hex(), "aad": aad.hex(), "ciphertext": ciphertext.hex(),
                "gcm_tag": tags[side].hex(), "plaintext": plaintext.hex()})

    def prepare(name):
        """Under a, the first two blocks are text; under b, the last two. Blocks 2 and 3 are free."""
        nonce = fixed_bytes("nonce of " + name, 24)
        a, b = (Gcm(xaes_key(k.enc, nonce), nonce[12:], aad, blocks) for k in keys)
        first = xor(b"to key a: transfer 10 to Alice. ", a.keystream[:32])
        last = xor(b"to key b: transfer 9999 to Bob. ", b.keystream[64:])
        return nonce, a, b, lambda x, y: first + x.to_bytes(16, "big") + y.to_bytes(16, "big") + last

    name = "one ciphertext and one GCM tag"
    nonce, a, b, fill = prepare(name)
    gap = a.tag(fill(0, 0)) ^ b.tag(fill(0, 0))
    ciphertext = fill(field_divide(gap, a.weight(2) ^ b.weight(2)), 0)
    assert a.tag(ciphertext) == b.tag(ciphertext)
    add(name, nonce, ciphertext, [a.tag(ciphertext).to_bytes(16, "big")] * 2)

    name = "one token up to its mac"
    nonce, a, b, fill = prepare(name)
    tags = [aes256(k.tag, fixed_bytes("tag of " + name, 16), inverse=True) for k in keys]
    gaps = [int.from_bytes(tag, "big") ^ gcm.tag(fill(0, 0)) for tag, gcm in zip(tags, (a, b))]
    a2, a3, b2, b3 = a.weight(2), a.weight(3), b.weight(2), b.weight(3)
    determinant = field_multiply(a2, b3) ^ field_multiply(a3, b2)
    x = field_divide(field_multiply(gaps[0], b3) ^ field_multiply(gaps[1], a3), determinant)
    y = field_divide(field_multiply(gaps[1], a2) ^ field_multiply(gaps[0], b2), determinant)
    add(name, nonce, fill(x, y), tags)
    assert raw(opens[2]["token"])[:-32] == raw(opens[3]["token"])[:-32]
    return {"vectors": opens, "refused": refuses, "xaes_256_gcm": gcm_only}


# primitives.json


def primitives():
    def hkdf(name, ikm, salt, info, prk, okm):
        assert hmac_sha256(salt, ikm).hex() == prk
        return {"name": name, "why": "RFC 5869", "ikm": ikm.hex(), "salt": salt.hex(), "info": info.hex(), "prk": prk, "okm": okm}

    def mac(name, key, data, mac):
        return {"name": name, "why": "RFC 4231", "key": key.hex(), "data": data.hex(), "mac": mac}

    def xaes(name, key, aad, derived_key, sealed_bytes):
        nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX"
        assert xaes_key(key, nonce).hex() == derived_key
        return {"name": name, "why": "c2sp.org/XAES-256-GCM", "key": key.hex(), "nonce": nonce.hex(),
                "aad": aad.hex(), "plaintext": b"XAES-256-GCM".hex(), "xaes_key": derived_key,
                "ciphertext": sealed_bytes[:-32], "gcm_tag": sealed_bytes[-32:]}

    long_key = b"\xaa" * 131
    return {
        "aes_256": [{
            "name": "appendix C.3", "why": "FIPS 197", "key": arithmetic(0, 32).hex(),
            "plaintext": "00112233445566778899aabbccddeeff", "ciphertext": "8ea2b7ca516745bfeafc49904b496089"}],
        "hmac_sha256": [
            mac("case 1", b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            mac("case 2", b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            mac("case 3", b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            mac("case 4", arithmetic(1, 25), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            mac("case 5, its first 16 bytes", b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
            mac("case 6", long_key, b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
            mac("case 7", long_key, b"This is a test using a larger than block-size key and a larger than block-size data. "
                b"The key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ],
        "hkdf_sha256": [
            hkdf("A.1", b"\x0b" * 22, arithmetic(0, 13), arithmetic(0xF0, 10),
                 "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
                 "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
            hkdf("A.2", arithmetic(0, 80), arithmetic(0x60, 80), arithmetic(0xB0, 80),
                 "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
                 "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
                 "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
            hkdf("A.3", b"\x0b" * 22, b"", b"",
                 "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
                 "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
        ],
        "xaes_256_gcm": [
            xaes("most significant bit of L is 0", b"\x01" * 32, b"",
                 "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b",
                 "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            xaes("most significant bit of L is 1, with AAD", b"\x03" * 32, b"c2sp.org/XAES-256-GCM",
                 "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8",
                 "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
        ],
    }


# backend.json


def backend(name, why, subject, app_key=KEY_A, use=COOKIE, context="", sid=None):
    login = {} if sid is None else {"sid": sid, "sid_tag": sid_tag(app_key, use, context, sid).hex()}
    session_id = fixed_bytes("id of " + name, 16)
    return {
        "name": name,
        "why": why,
        "app_key": app_key.hex(),
        "cookie": use,
        "context": context,
        "id": session_id.hex(),
        "subject": subject,
        "store_key": store_key(session_id).hex(),
        "tag": subject_tag(app_key, use, context, subject).hex(),
        **login,
    }


def backends():
    return [
        backend("a session", "under what a backend keeps it", "user:42"),
        backend("another id", "another key; the same tag", "user:42"),
        backend("another subject", "byte for byte: no change of case", "User:42"),
        backend("another app key", "another tag: a backend cannot guess whose it is", "user:42", app_key=KEY_B),
        backend("another cookie", "the name is in the derivation", "user:42", use="__Host-admin"),
        backend("another context", "so is the context", "user:42", context="staging"),
        backend("a subject of 64 bytes in two alphabets", "its bytes of UTF-8", "ü🔑" * 10 + "abcd"),
        backend("a sid", "another tag than the same text as a subject has", "user:42", sid="user:42"),
        backend("a sid under another app key", "a backend cannot guess this one either", "user:42", app_key=KEY_B, sid="user:42"),
        backend("a sid of 255 bytes", "the longest there is", "s" * 255, sid="s" * 255),
    ]


# revocations.json


def revocations():
    def vector(name, why, plaintext, **ended):
        return {
            "name": name, "why": why, **derived(KEY_A, "revocation", COOKIE, ""),
            "kind": "revocation", "cookie": COOKIE, "context": "",
            **seal(name, plaintext, KEY_A, "revocation", COOKIE),
            "ring": [KEY_A.hex()], "opened_under": "sealing", "ended": ended,
        }

    def session(name, why, since, until):
        session_id = fixed_bytes("id of " + name, 16)
        plaintext = b"\x01\x01" + session_id + since.to_bytes(6, "big") + until.to_bytes(6, "big")
        return vector(name, why, plaintext, id=session_id.hex(), **{"from": since}, until=until)

    def subject(name, why, subject):
        return vector(name, why, b"\x01\x02" + NOW.to_bytes(6, "big") + subject.encode(), moment=NOW, subject=subject)

    def sid(name, why, sid):
        return vector(name, why, b"\x01\x06" + NOW.to_bytes(6, "big") + sid.encode(), moment=NOW, sid=sid)

    def moved(name, why):
        session_id, next_id = fixed_bytes("id of " + name, 16), fixed_bytes("next id of " + name, 16)
        plaintext = b"\x01\x05" + session_id + NOW.to_bytes(6, "big") + next_id
        return vector(name, why, plaintext, id=session_id.hex(), moment=NOW, next=next_id.hex())

    def bound(name, why):
        session_id, binding = fixed_bytes("id of " + name, 16), fixed_bytes("binding of " + name, 16)
        until = ISSUED + DAY_MS
        plaintext = b"\x01\x07" + session_id + binding + until.to_bytes(6, "big")
        return vector(name, why, plaintext, id=session_id.hex(), binding=binding.hex(), until=until)

    return [
        session("a destroyed session", "at once, until no copy can be alive", 0, ISSUED + DAY_MS),
        session("a renewed session", "ten seconds later, for requests on their way", NOW + 10_000, ISSUED + DAY_MS),
        session("a session at the end of 48 bits", "the latest there is", LAST_MS, LAST_MS),
        subject("a subject", "all of its sessions from before", "user:42"),
        subject("a subject of 64 bytes in two alphabets", "its bytes of UTF-8", "ü🔑" * 10 + "abcd"),
        vector("all", "whatever was issued before", b"\x01\x03" + NOW.to_bytes(6, "big"), moment=NOW),
        vector("a lifetime", "until then, sessions may live this long",
               b"\x01\x04" + (30 * DAY_MS).to_bytes(6, "big") + (NOW + 34 * DAY_MS).to_bytes(6, "big"),
               longest=30 * DAY_MS, until=NOW + 34 * DAY_MS),
        bound("a session that is bound to a device", "copies of its cookie from before end"),
        moved("a new id", "what a renewed session has become, for a logout with its old cookie"),
        subject("a subject of 255 bytes", "the longest there is", "s" * 255),
        sid("a sid", "all sessions of this login at the identity provider from before", "08a5019c-17e1-4977-8f42-65a12843ea02"),
    ]


# keys.json


def ring_line(key_id, made, since, stops=None, disabled=0, revoked=None, dropped=None, material=None):
    dates = {"made": made, "from": since, "stops": stops, "disabled": disabled, "revoked": revoked, "dropped": dropped}
    shown = " ".join(f"{name} {'-' if date is None else date}" for name, date in dates.items())
    shown_material = "-" if material is None else "base64:" + base64.b64encode(material).decode()
    key = {"id": key_id, **dates, "material": None if material is None else material.hex()}
    return f"key {key_id} {shown} material {shown_material}", key


def ring_text(lines, *, longest=DAY_MS, fence=0, format=1, end=None):
    settings = {"longest": longest, "poll": 20_000, "propagation": 0, "timeout": 5000, "tolerance": 60_000, "fence": fence}
    shown = [f"sealed-session keys {format}", *(f"{name} {number}" for name, number in settings.items()),
             *(line for line, _ in lines), f"end {len(lines) if end is None else end}"]
    return "\n".join(shown) + "\n", {"format": format, **settings, "keys": [key for _, key in lines]}


def fixed_id(label):
    return fixed_bytes("key of " + label, 4).hex()


def ring_use(name, why, key, ring, use, context, text):
    return {
        "name": name, "why": why, **derived(key, "keys", use, context), "kind": "keys", "purpose": use, "context": context,
        **seal(name, text.encode(), key, "keys", use, context), "ring": [app_key.hex() for app_key in ring],
        "opened_under": "sealing" if ring[0] == key else "accepted",
    }


def rings():
    assert len(base64url(bytes(77 + RING_BYTES))) == RING_LIMIT

    def vector(name, why, lines, *, key=KEY_A, ring=None, use="keys", context="", **settings):
        text, held = ring_text(lines, **settings)
        return {**ring_use(name, why, key, [key] if ring is None else ring, use, context, text), "held": held}

    ids = sorted(fixed_id(str(n)) for n in range(3))
    over = ring_line(ids[0], ISSUED, ISSUED, NOW)
    most = [ring_line(f"{n:08x}", LAST_MS, LAST_MS, LAST_MS, 2**32 - 1, LAST_MS, LAST_MS) for n in range(128)]
    newer, held = ring_text([over], format=2)
    newer = newer.replace("\npoll", " 7 days\npoll").replace("end 1", "witness 1\nend 1 more").replace("\nwitness", " colour 7\nwitness")
    return [
        vector("a ring without keys", "seven lines and the end", []),
        vector("a key that is over", "its material is gone, its dates stay", [over]),
        vector("keys that are gone in each way", "revoked alone, by the fence, and dropped", [
            ring_line(ids[0], NOW - 1, NOW + DAY_MS, revoked=NOW), ring_line(ids[1], ISSUED, ISSUED, NOW, 2),
            ring_line(ids[2], NOW - 2, LAST_MS, disabled=1, dropped=NOW)], fence=ISSUED, longest=30 * DAY_MS),
        vector("the most keys with the longest numbers", "128 entries, 48 and 32 bits", most),
        vector("a root key that is accepted", "whoever writes keeps it", [over], ring=[KEY_B, KEY_A]),
        vector("another name and a context", "both are part of the derivation", [over], use="shop keys", context="production"),
        {**ring_use("a newer format", "what is known is read, and nothing is written", KEY_A, [KEY_A], "keys", "", newer), "held": held},
    ]


def rings_refused():
    ids = sorted(fixed_id(str(n)) for n in range(2))
    over, other = (ring_line(key_id, ISSUED, ISSUED, NOW) for key_id in ids)
    live = ring_line(Keys(KEY_A, "", "", "").key_id.hex(), ISSUED, ISSUED, material=KEY_A)
    whole, _ = ring_text([over])

    def bad(name, why, text, reason="bad_ring", use="keys"):
        vector = ring_use(name, why, KEY_A, [KEY_A], "keys", "", text)
        kept = ("name", "why", "kind", "context", "plaintext", "token", "ring")
        return {**{field: vector[field] for field in kept}, "purpose": use, "reason": reason}

    return [
        bad("a printed key", "its bytes count up, and everything else is right: no such key is taken", ring_text([live])[0]),
        bad("a ring under another name", "the name is in the derivation", whole, "forged", use="other keys"),
        bad("nothing", "not even a title", ""),
        bad("no line end", "it was cut short", whole[:-1]),
        bad("no end", "it was cut short at a line", whole[: whole.index("end")]),
        bad("another number at the end", "a line is missing", ring_text([over], end=2)[0]),
        bad("after the end", "nothing follows it", whole + "end 1\n"),
        bad("keys out of order", "ascending by id", ring_text([other, over])[0]),
        bad("a key twice", "each id once", ring_text([over, over])[0]),
        bad("a remark", "format 1 has no other lines", whole.replace("end", "# kept by hand\nend")),
        bad("one more field", "format 1 has no other fields", whole.replace("\nend", " colour 7\nend")),
        bad("a number with a zero before it", "each has one spelling", whole.replace("poll 2", "poll 02")),
        bad("a number beyond 48 bits", "no moment is later", whole.replace(f"stops {NOW}", f"stops {2**48}")),
        bad("sealing before it was made", "dates that contradict each other", ring_text([ring_line(ids[0], NOW, NOW - 1)])[0]),
        bad("format 0", "the first is 1", ring_text([over], format=0)[0]),
    ]


# Writing


def write(file, comment, **sections):
    """One field per line: long enough to read a vector by eye, short enough for a diff."""
    shown = []
    for section, vectors in sections.items():
        names = [vector["name"] for vector in vectors]
        assert len(set(names)) == len(names), f"{file}: a name twice in {section}"
        for vector in vectors:
            found = outcome(section, vector)
            wrong = {field: found[field] for field in found if found[field] != vector.get(field)}
            assert not wrong, f"{file}: {vector['name']}: {wrong}"
        items = (",\n".join(f"      {json.dumps(k)}: {json.dumps(v)}" for k, v in vector.items()) for vector in vectors)
        shown.append(f"  {json.dumps(section)}: [\n" + ",\n".join("    {\n" + item + "\n    }" for item in items) + "\n  ]")
    document = "{\n  " + f'"comment": {json.dumps(comment)},\n' + ",\n".join(shown) + "\n}\n"
    assert list(json.loads(document)) == ["comment", *sections]
    (Path(__file__).parent / file).write_text(document, encoding="ascii", newline="\n")


# device.json


def device_tokens():
    binding, session_id = fixed_bytes("a binding", 16), fixed_bytes("the id of a session", 16)
    # The base point of the curve: the public key of the private key 1.
    point = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")

    def plaintext(kind, fields):
        def moment(name):
            return fields[name].to_bytes(6, "big")

        match kind:
            case "device-offer": return b"\x01" + session_id + moment("expires_at")
            case "device-key": return b"\x01" + binding + session_id + b"\x01" + point + moment("issued_at")
            case "device-proof":
                tail = session_id if "session" in fields else b""
                return b"\x01" + binding + moment("proven_at") + moment("expires_at") + tail
            case "device-challenge":
                what = b"\x01" + session_id if "session" in fields else b"\x02" + binding
                return b"\x01" + what + moment("expires_at")

    def token(kind, name, why, *, now_ms=NOW, ring=(KEY_A,), **fields):
        return {
            "name": name, "why": why, **derived(KEY_A, kind, COOKIE, ""), "kind": kind, "cookie": COOKIE, "context": "",
            **seal(name, plaintext(kind, fields), KEY_A, kind, COOKIE), "ring": [key.hex() for key in ring],
            "opened_under": "sealing" if ring[0] == KEY_A else "accepted", "now_ms": now_ms, "device": fields,
        }

    def bad(reason, kind, name, why, data, *, now_ms=NOW):
        return {"name": name, "why": why, "ring": [KEY_A.hex()], "kind": kind, "cookie": COOKIE, "context": "",
                "now_ms": now_ms, "token": seal(name, data, KEY_A, kind, COOKIE)["token"], "reason": reason}

    session, bound, minute = {"session": session_id.hex()}, {"binding": binding.hex()}, 60_000
    key = bound | session | {"point": point.hex()}
    offer, challenge, proof = "device-offer", "device-challenge", "device-proof"
    good = [
        token(offer, "an offer", "which session may register, for a minute", **session, expires_at=NOW + minute),
        token(offer, "the last millisecond of an offer", "a minute more for clocks", **session, expires_at=NOW - SKEW_MS + 1),
        token(offer, "an offer from a clock that is ahead", "by 60 seconds", **session, expires_at=NOW + minute + SKEW_MS),
        token("device-key", "a key", "ES256, the base point of the curve", **key, issued_at=NOW),
        token("device-key", "a key under an accepted app key", "opens like any other", ring=(KEY_B, KEY_A), **key, issued_at=NOW),
        token("device-key", "the last millisecond of a key", "the longest lifetime", **key, issued_at=NOW - DAY_MS + 1),
        token(proof, "a first proof", "names the session, whose record does not yet say that it is bound", **bound,
              proven_at=NOW, expires_at=NOW + 10 * minute, **session),
        token(proof, "a later proof", "names the binding alone", **bound, proven_at=NOW, expires_at=NOW + 10 * minute),
        token(proof, "the last millisecond of a proof", "no more for clocks", **bound, proven_at=NOW - minute, expires_at=NOW + 1),
        token(proof, "a proof from a clock that is ahead", "by 60 seconds", **bound, proven_at=NOW + SKEW_MS, expires_at=NOW + 10 * minute),
        token(challenge, "a challenge to register", "for a session", **session, expires_at=NOW + minute),
        token(challenge, "a challenge to refresh", "for a binding", **bound, expires_at=NOW + minute),
    ]
    late, early = (NOW - SKEW_MS).to_bytes(6, "big"), (NOW + minute + SKEW_MS + 1).to_bytes(6, "big")
    now, soon = NOW.to_bytes(6, "big"), (NOW + minute).to_bytes(6, "big")
    whole_key = b"\x01" + binding + session_id + b"\x01" + point
    refused = [
        bad("expired", offer, "an old offer", "to the millisecond", b"\x01" + session_id + late),
        bad("future", offer, "an offer too far ahead", "by a millisecond", b"\x01" + session_id + early),
        bad("newer", offer, "an offer of format 2", "only 1 is known", b"\x02" + session_id + soon),
        bad("bad_record", offer, "an offer cut short", "by a byte", b"\x01" + session_id + soon[:5]),
        bad("expired", challenge, "an old challenge", "to the millisecond", b"\x01\x02" + binding + late),
        bad("newer", challenge, "a challenge for something else", "only two purposes are known", b"\x01\x03" + binding + soon),
        bad("bad_record", challenge, "a challenge and a byte more", "left over", b"\x01\x02" + binding + soon + b"\0"),
        bad("expired", proof, "an old proof", "to the millisecond", b"\x01" + binding + now + now),
        bad("future", proof, "a proof too far ahead", "by a millisecond",
            b"\x01" + binding + (NOW + SKEW_MS + 1).to_bytes(6, "big") + early),
        bad("bad_record", proof, "a proof with half a session", "all or nothing", b"\x01" + binding + now + soon + session_id[:8]),
        bad("expired", "device-key", "an old key", "the longest lifetime to the millisecond", whole_key + (NOW - DAY_MS).to_bytes(6, "big")),
        bad("future", "device-key", "a key too far ahead", "by a millisecond", whole_key + (NOW + SKEW_MS + 1).to_bytes(6, "big")),
        bad("newer", "device-key", "a key of another algorithm", "only ES256 is known",
            whole_key[:33] + b"\x02" + whole_key[34:] + now),
        bad("bad_record", "device-key", "an uncompressed point", "33 bytes are read", whole_key[:34] + b"\x04" + bytes(64) + now),
    ]
    # A token of one kind never opens as another.
    kinds = (offer, "device-key", proof, challenge)
    tokens = {vector["kind"]: vector["token"] for vector in good}
    for kind in kinds:
        for other in (*kinds, "cookie"):
            if other != kind:
                refused.append({
                    "name": f"{kind} as {other}", "why": "the kind is in the derivation", "ring": [KEY_A.hex()], "kind": other,
                    "cookie": COOKIE, "context": "", "now_ms": NOW, "token": tokens[kind], "reason": "forged",
                })
    return {"vectors": good, "refused": refused}


def main():
    write("primitives.json", "Published vectors of what the format is built from. All values are hex.", **primitives())
    write("sessions.json", "Tokens that open. Byte strings are hex, times are Unix milliseconds, a float is the hex of its "
          "big-endian bits; docs/format.md explains every field.", vectors=sessions())
    write("refused.json", "Tokens that do not open, each with the first reason on the way; then values that do not decode, "
          "as bytes. Settings that are not given have their defaults.",
          vectors=[*refused_tokens(), *refused_records(), *refused_times()], values=bad_values())
    write("sealer.json", "Tokens that are not sessions: kind token seals bytes as they are, kind timed puts a deadline before them.",
          vectors=sealer_vectors(), refused=sealer_refused())
    write("collision.json", "Ciphertexts that GCM accepts under two app keys, built by somebody who knows both. The two keys have "
          "one key id, so no ring takes both of them, and only the mac tells their tokens apart.", **collisions())
    write("backend.json", "What a backend sees of sessions: the key that each is kept under, and what a subject's have in common.",
          backend=backends())
    write("revocations.json", "Tokens of kind revocation: what has ended, as the processes of a fleet tell each other.",
          vectors=revocations())
    write("device.json", "Tokens of device-bound sessions: what a browser carries beside its session, and what it signs.",
          **device_tokens())
    write("keys.json", "Tokens of kind keys: the ring of a key store, sealed as a whole under a root key. No vector that opens has "
          "a key's material, because a printed key is refused.", vectors=rings(), refused=rings_refused())


if __name__ == "__main__":
    main()
