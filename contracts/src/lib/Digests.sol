// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

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
}
