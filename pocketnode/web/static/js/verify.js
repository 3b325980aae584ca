// Proves a relay's record to be in a session's statement, in the page (rule 5.5): RFC 6962 with keccak256.

import { keccak_256 } from "../vendor/noble/sha3.js";

export const RECORD_BYTES = 85;

export function bytesOf(hex) {
  const digits = hex.replace(/^0x/, "");
  return Uint8Array.from({ length: digits.length / 2 }, (_, place) => parseInt(digits.slice(2 * place, 2 * place + 2), 16));
}

export function hexOf(bytes) {
  return `0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function hash(prefix, ...parts) {
  const size = parts.reduce((sum, part) => sum + part.length, 1);
  const joined = new Uint8Array(size);
  joined[0] = prefix;
  let at = 1;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return keccak_256(joined);
}

/** The fields of a record's 85 bytes. */
export function decode(bytes) {
  if (bytes.length !== RECORD_BYTES) throw new Error(`a record has ${RECORD_BYTES} bytes, this has ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return {
    receipt: hexOf(bytes.subarray(0, 32)),
    response: hexOf(bytes.subarray(32, 64)),
    index: view.getUint32(64),
    units: view.getBigUint64(68),
    first_byte_ms: view.getUint32(76),
    done_ms: view.getUint32(80),
    verdict: view.getUint8(84),
  };
}

/** The root that a record at `place` of `size` leads to by `path`; throws where the path's length is wrong. */
export function rootOf(record, place, size, path) {
  const turns = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + leftSize(end - start);
    const right = place >= middle;
    turns.push(right);
    if (right) start = middle;
    else end = middle;
  }
  if (turns.length !== path.length) throw new Error(`the path has ${path.length} hashes, ${turns.length} are wanted`);
  let node = hash(0, record);
  turns.reverse().forEach((right, level) => {
    node = right ? hash(1, path[level], node) : hash(1, node, path[level]);
  });
  return hexOf(node);
}

function leftSize(count) {
  let size = 1;
  while (size * 2 < count) size *= 2;
  return size;
}

/** The steps of the check: [{ok: true|false|null, title, detail}]; null is for what cannot be said yet. */
export function check(digest, found) {
  const steps = [];
  let root = "";
  try {
    const record = bytesOf(found.record);
    const fields = decode(record);
    steps.push({ ok: fields.receipt === digest.toLowerCase(), title: "The record is of this relay", detail: "its first 32 bytes are the digest you asked for" });
    root = rootOf(record, found.place, found.size, found.path.map(bytesOf));
    steps.push({ ok: root === found.root, title: `It is number ${found.place + 1} of ${found.size} records`, detail: `${found.path.length} hashes lead from it to ${root}` });
  } catch (error) {
    steps.push({ ok: false, title: "The proof is malformed", detail: error.message });
    return steps;
  }
  if (found.stated_root === null) {
    steps.push({ ok: null, title: "Not stated yet", detail: "the session's statement is not on chain; its root can still grow" });
  } else {
    steps.push({ ok: root === found.stated_root, title: "The statement on chain has the same root", detail: `block ${found.statement_block}, transaction ${found.statement}` });
  }
  return steps;
}
