// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Clock} from "./Clock.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {IParams} from "./interfaces/IParams.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {ISessions} from "./interfaces/ISessions.sol";
import {Selection} from "./lib/Selection.sol";

/// @title Sessions: see ISessions
contract Sessions is ISessions, Clock {
    IParams public immutable params;
    IRegistry public immutable registry;
    IEscrow public immutable escrow;

    mapping(uint32 session => bytes32) private _poked;

    constructor(IParams params_, IRegistry registry_, IEscrow escrow_) Clock(params_.windows()) {
        (params, registry, escrow) = (params_, registry_, escrow_);
    }

    /// @inheritdoc ISessions
    function sessionOf(address application, bytes32 service, uint32 number)
        external
        view
        returns (Session memory session)
    {
        session.id = keccak256(abi.encode(application, service, number));
        (session.application, session.service, session.number) = (application, service, number);
        (session.start, session.end) = (uint64(startOf(number)), uint64(endOf(number)));
        session.seed = seedOf(application, service, number);
        session.count = registry.countAt(service, number);
        session.covered = escrow.covers(application, service, number);
        session.suppliers = new IRegistry.Supplier[](Math.min(params.suppliersAt(number), session.count));
        for (uint256 rank; rank < session.suppliers.length; ++rank) {
            uint32 index = uint32(Selection.permute(session.seed, session.count, rank));
            session.suppliers[rank] = registry.supplierAt(service, number, index);
        }
    }

    /// @inheritdoc ISessions
    function poke(uint32 number) external returns (bytes32 blockHash) {
        blockHash = blockHashOf(number);
        if (_poked[number] != 0) return blockHash;
        _poked[number] = blockHash;
        emit Poked(number, blockHash);
    }

    /// @inheritdoc ISessions
    function blockHashOf(uint32 number) public view returns (bytes32 blockHash) {
        blockHash = _poked[number];
        uint256 start = startOf(number);
        if (blockHash == 0 && start > 0) blockHash = Blockhash.blockHash(start - 1);
        if (blockHash == 0) revert SeedUnknown(number);
    }

    /// @inheritdoc ISessions
    function seedOf(address application, bytes32 service, uint32 number) public view returns (bytes32) {
        return keccak256(abi.encode(blockHashOf(number), application, service));
    }

    /// @inheritdoc ISessions
    function permute(bytes32 seed, uint256 count, uint256 rank) external pure returns (uint256) {
        return Selection.permute(seed, count, rank);
    }

    /// @inheritdoc ISessions
    function inverse(bytes32 seed, uint256 count, uint256 index) external pure returns (uint256) {
        return Selection.inverse(seed, count, index);
    }
}
