// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Clock} from "./Clock.sol";
import {IParams} from "./interfaces/IParams.sol";
import {Timeline} from "./lib/Timeline.sol";

/// @title Params: see IParams
contract Params is IParams, Clock, Ownable2Step {
    using Timeline for Timeline.History;

    uint64 public immutable delay;
    uint96 public immutable chargeMax;
    address public treasury;

    Timeline.History private _rules;
    Timeline.History private _bonds;
    Timeline.History private _serviceFee;

    constructor(
        Windows memory windows_,
        uint64 delay_,
        uint96 chargeMax_,
        Rules memory rules,
        Charges memory charges,
        address treasury_,
        address governance
    ) Clock(windows_) Ownable(governance) {
        uint256 least = uint256(windows_.thaw) + windows_.statement + windows_.claim + 1;
        _bounded("delay", delay_, least, type(uint64).max);
        (delay, chargeMax) = (delay_, chargeMax_);
        _check(rules);
        _check(charges, chargeMax_);
        _set(0, rules, charges);
        _setTreasury(treasury_);
    }

    /// @inheritdoc IParams
    function rulesAt(uint32 session) external view returns (Rules memory) {
        uint256 word = _rules.during(session);
        return Rules(
            uint16(word >> 80), uint16(word >> 64), uint16(word >> 48), uint16(word >> 32), uint16(word >> 16), uint16(word)
        );
    }

    /// @inheritdoc IParams
    function chargesAt(uint32 session) external view returns (Charges memory) {
        uint256 bonds = _bonds.during(session);
        return Charges(uint96(bonds >> 96), uint96(bonds), uint96(_serviceFee.during(session)));
    }

    /// @inheritdoc IParams
    function suppliersAt(uint32 session) external view returns (uint256) {
        return uint16(_rules.during(session) >> 80);
    }

    /// @inheritdoc IParams
    function supplierBondAt(uint32 session) external view returns (uint96) {
        return uint96(_bonds.during(session) >> 96);
    }

    /// @inheritdoc IParams
    function schedule(Rules calldata rules, Charges calldata charges) external onlyOwner returns (uint32 fromSession) {
        _check(rules);
        _check(charges, chargeMax);
        fromSession = numberAt(block.number + delay) + 1;
        _set(fromSession, rules, charges);
    }

    /// @inheritdoc IParams
    function setTreasury(address treasury_) external onlyOwner {
        _setTreasury(treasury_);
    }

    function _set(uint32 from, Rules memory r, Charges memory c) private {
        uint256 word = (uint256(r.suppliers) << 80) | (uint256(r.fee) << 64) | (uint256(r.qualityShare) << 48)
            | (uint256(r.qualityMin) << 32) | (uint256(r.ownerShareMax) << 16) | r.slashShare;
        _rules.set(from, uint224(word));
        _bonds.set(from, (uint224(c.supplierBond) << 96) | c.gatewayBond);
        _serviceFee.set(from, c.serviceFee);
        emit Scheduled(from, r, c);
    }

    function _setTreasury(address treasury_) private {
        if (treasury_ == address(0)) revert ZeroAddress();
        treasury = treasury_;
        emit TreasuryChanged(treasury_);
    }

    function _check(Rules memory r) private pure {
        _bounded("suppliers", r.suppliers, 1, 64);
        _bounded("fee", r.fee, 0, 1_000);
        _bounded("qualityShare", r.qualityShare, 0, 5_000);
        _bounded("qualityMin", r.qualityMin, 1_000, 10_000);
        _bounded("ownerShareMax", r.ownerShareMax, 0, 10_000);
        _bounded("slashShare", r.slashShare, 0, 10_000);
    }

    function _check(Charges memory c, uint96 most) private pure {
        _bounded("supplierBond", c.supplierBond, 0, most);
        _bounded("gatewayBond", c.gatewayBond, 0, most);
        _bounded("serviceFee", c.serviceFee, 0, most);
    }

    function _bounded(string memory name, uint256 value, uint256 least, uint256 most) private pure {
        if (value < least || value > most) revert OutOfBounds(name, value, least, most);
    }
}
