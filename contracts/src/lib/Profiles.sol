// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistry} from "../interfaces/IRegistry.sol";

/// @title Profiles of registrations as contracts' code
/// @notice A profile is read whole, never changed, and replaced rarely: as code it costs a third of storage, and an old
/// session keeps its own. The first byte is STOP, so the code can never run, let alone destroy itself.
/// @dev Layout: `0x00 | registration u32 | operator 20 | fingerprint 32 | payouts u8 | payouts * 22 | endpoint`.
library Profiles {
    uint256 private constant HEAD = 58;
    uint256 private constant PAYOUT = 22;

    error NotWritten();

    /// @notice Stores a profile and returns its address.
    function write(uint32 id, IRegistry.Profile calldata p) internal returns (address profile) {
        bytes memory data = abi.encodePacked(
            bytes1(0), id, p.operator, p.fingerprint, uint8(p.payouts.length)
        );
        for (uint256 i; i < p.payouts.length; ++i) {
            data = abi.encodePacked(data, p.payouts[i].account, p.payouts[i].share);
        }
        data = abi.encodePacked(data, p.endpoint);
        // Init code: PUSH2 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN copies what follows it.
        bytes memory init = abi.encodePacked(hex"61", uint16(data.length), hex"80600a5f395ff3", data);
        assembly ("memory-safe") {
            profile := create(0, add(init, 32), mload(init))
        }
        if (profile == address(0)) revert NotWritten();
    }

    function registration(address profile) internal view returns (uint32 id) {
        assembly ("memory-safe") {
            extcodecopy(profile, 0, 1, 32)
            id := shr(224, mload(0))
        }
    }

    function head(address profile) internal view returns (uint32 id, address operator) {
        assembly ("memory-safe") {
            extcodecopy(profile, 0, 1, 32)
            id := shr(224, mload(0))
            operator := shr(96, mload(4))
        }
    }

    function read(address profile) internal view returns (uint32 id, IRegistry.Profile memory p) {
        bytes memory data = profile.code;
        id = uint32(_uint(data, 1, 4));
        p.operator = address(uint160(_uint(data, 5, 20)));
        p.fingerprint = bytes32(_uint(data, 25, 32));
        p.payouts = payoutsIn(data);
        uint256 end = HEAD + PAYOUT * p.payouts.length;
        bytes memory endpoint = new bytes(data.length - end);
        assembly ("memory-safe") {
            mcopy(add(endpoint, 32), add(add(data, 32), end), mload(endpoint))
        }
        p.endpoint = string(endpoint);
    }

    /// @notice The payouts in a profile's code.
    function payoutsIn(bytes memory data) internal pure returns (IRegistry.Payout[] memory list) {
        list = new IRegistry.Payout[](_uint(data, 57, 1));
        for (uint256 i; i < list.length; ++i) {
            uint256 offset = HEAD + PAYOUT * i;
            list[i] = IRegistry.Payout(address(uint160(_uint(data, offset, 20))), uint16(_uint(data, offset + 20, 2)));
        }
    }

    function _uint(bytes memory data, uint256 offset, uint256 length) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, mul(8, length)), mload(add(add(data, 32), offset)))
        }
    }
}
