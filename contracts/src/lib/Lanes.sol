// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {ISettlement} from "../interfaces/ISettlement.sol";
import {Digests} from "./Digests.sol";

/// @title Who signed the receipts and responses of a claim
/// @notice A claim checks many signatures, so this is written for gas: five fields and (v, r, s) lie in calldata as the
/// EIP-712 encoding and the precompile want them, and are copied as they are. Bits above a field's type, which Solidity
/// would refuse, only make another digest here: no signature fits it.
/// @dev Equal to `Digests` and OpenZeppelin's ECDSA by test. A signature that recovers nothing gives address zero.
library Lanes {
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @notice Digest and signer of the Receipt that a lane stands for.
    function receipt(bytes32 domain, bytes32 session, address supplier, ISettlement.LaneReceipt calldata lane)
        internal
        view
        returns (bytes32 digest, address signer)
    {
        if (uint256(lane.s) > HALF_ORDER) revert ECDSA.ECDSAInvalidSignatureS(lane.s);
        bytes32 kind = Digests.RECEIPT;
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, kind)
            mstore(add(m, 0x20), session)
            mstore(add(m, 0x40), supplier)
            calldatacopy(add(m, 0x60), lane, 0xa0)
            let hash := keccak256(m, 0x100)
            mstore(m, hex"1901")
            mstore(add(m, 0x02), domain)
            mstore(add(m, 0x22), hash)
            digest := keccak256(m, 0x42)
            mstore(m, digest)
            calldatacopy(add(m, 0x20), add(lane, 0xa0), 0x60)
            mstore(0x00, 0)
            pop(staticcall(gas(), 1, m, 0x80, 0x00, 0x20))
            signer := mload(0x00)
        }
    }

    /// @notice Signer of the Response to the receipt of a digest.
    function response(bytes32 domain, bytes32 answered, ISettlement.LaneResponse calldata r)
        internal
        view
        returns (address signer)
    {
        if (uint256(r.s) > HALF_ORDER) revert ECDSA.ECDSAInvalidSignatureS(r.s);
        bytes32 kind = Digests.RESPONSE;
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, kind)
            mstore(add(m, 0x20), answered)
            calldatacopy(add(m, 0x40), add(r, 0x20), 0xa0)
            let hash := keccak256(m, 0xe0)
            mstore(m, hex"1901")
            mstore(add(m, 0x02), domain)
            mstore(add(m, 0x22), hash)
            mstore(m, keccak256(m, 0x42))
            calldatacopy(add(m, 0x20), add(r, 0xc0), 0x60)
            mstore(0x00, 0)
            pop(staticcall(gas(), 1, m, 0x80, 0x00, 0x20))
            signer := mload(0x00)
        }
    }
}
