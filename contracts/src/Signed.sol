// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Digests} from "./lib/Digests.sol";
import {ISettlement} from "./interfaces/ISettlement.sol";

/// @title What gateways and suppliers sign, under this deployment's domain (rules 1.1 to 1.3)
abstract contract Signed is ISettlement, EIP712 {
    constructor() EIP712("pocketnode", "1") {}

    /// @inheritdoc ISettlement
    function statementDigest(Statement calldata statement) public view returns (bytes32) {
        return _hashTypedDataV4(Digests.statement(statement));
    }

    /// @inheritdoc ISettlement
    function receiptDigest(Receipt calldata receipt) public view returns (bytes32) {
        return _hashTypedDataV4(Digests.receipt(receipt));
    }

    /// @inheritdoc ISettlement
    function responseDigest(Response calldata response) public view returns (bytes32) {
        return _hashTypedDataV4(Digests.response(response));
    }

    /// @inheritdoc ISettlement
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @dev Checks one of two Responses to a Receipt and returns its digest.
    function _answers(bytes32 receipt, address supplier, Response calldata response, bytes calldata signature)
        internal
        view
        returns (bytes32 digest)
    {
        if (response.receipt != receipt) revert OtherReceipt(receipt, response.receipt);
        digest = responseDigest(response);
        _signedBy(supplier, ECDSA.recover(digest, signature));
    }

    function _signedBy(address expected, address actual) internal pure {
        if (actual != expected) revert WrongSigner(expected, actual);
    }
}
