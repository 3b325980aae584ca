// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {ISettlement} from "../interfaces/ISettlement.sol";

/// @title EIP-712 struct hashes of what gateways and suppliers sign (rule 1.3)
library Digests {
    bytes32 internal constant RECEIPT = keccak256(
        "Receipt(bytes32 session,address supplier,bytes32 lane,uint64 seq,uint128 total,uint128 hold,bytes32 request)"
    );
    bytes32 internal constant RESPONSE = keccak256(
        "Response(bytes32 receipt,bytes32 payload,uint128 units,uint32 firstByteMs,uint32 doneMs,bytes32 backend)"
    );
    bytes32 internal constant STATEMENT = keccak256(
        "Statement(address application,bytes32 service,uint64 session,bytes entries,bytes32 relaysRoot)"
    );

    function typed(bytes32 domain, bytes32 structHash) internal pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domain, structHash);
    }

    function statement(ISettlement.Statement calldata s) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encode(STATEMENT, s.application, s.service, s.session, keccak256(s.entries), s.relaysRoot)
            );
    }

    function receipt(ISettlement.Receipt calldata r) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPT, r.session, r.supplier, r.lane, r.seq, r.total, r.hold, r.request));
    }

    function response(ISettlement.Response calldata r) internal pure returns (bytes32) {
        return
            keccak256(abi.encode(RESPONSE, r.receipt, r.payload, r.units, r.firstByteMs, r.doneMs, r.backend));
    }

    /// @notice The Receipt that a claim's lane stands for.
    function lane(bytes32 session, address supplier, ISettlement.LaneReceipt calldata r)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(RECEIPT, session, supplier, r.lane, r.seq, r.total, r.hold, r.request));
    }

    /// @notice The Response that a claim gives for the receipt of a digest.
    function laneResponse(bytes32 receipt_, ISettlement.LaneResponse calldata r) internal pure returns (bytes32) {
        return keccak256(abi.encode(RESPONSE, receipt_, r.payload, r.units, r.firstByteMs, r.doneMs, r.backend));
    }
}
