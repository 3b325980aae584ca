// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Clock} from "./Clock.sol";
import {Till} from "./Till.sol";
import {IGateways} from "./interfaces/IGateways.sol";
import {IParams} from "./interfaces/IParams.sol";

/// @title Gateways: see IGateways
contract Gateways is IGateways, Clock, Till {
    using SafeERC20 for IERC20;

    IParams public immutable params;
    address public immutable escrow;

    mapping(address gateway => Bond) private _bonds;

    // Address zero has no code either.
    // slither-disable-next-line missing-zero-check
    constructor(IParams params_, IERC20 token_, address escrow_) Clock(params_.windows()) Till(token_) {
        if (escrow_.code.length == 0) revert NoCode(escrow_);
        (params, escrow) = (params_, escrow_);
    }

    /// @inheritdoc IGateways
    function addBond(address gateway, uint96 amount) external nonReentrant {
        if (gateway == address(0)) revert ZeroGateway();
        Bond storage b = _bonds[gateway];
        // Bond and thawing together must fit, so that cancelling a thaw never fails.
        uint256 total = uint256(b.bond) + b.thawing + amount;
        if (total > type(uint96).max) revert BondTooHigh(total, type(uint96).max);
        b.bond += amount;
        emit Bonded(gateway, msg.sender, amount);
        _pull(amount);
    }

    /// @inheritdoc IGateways
    function thaw(uint96 amount) external {
        Bond storage b = _bonds[msg.sender];
        if (amount == 0) revert ZeroAmount();
        if (amount > b.bond) revert MoreThanBonded(amount, b.bond);
        uint64 thawsAt = SafeCast.toUint64(block.number + THAW);
        (b.bond, b.thawing, b.thawsAt) = (b.bond - amount, b.thawing + amount, thawsAt);
        emit ThawStarted(msg.sender, amount, thawsAt);
    }

    /// @inheritdoc IGateways
    function cancelThaw() external {
        Bond storage b = _bonds[msg.sender];
        uint96 amount = b.thawing;
        if (amount == 0) revert NothingThaws(msg.sender);
        (b.bond, b.thawing, b.thawsAt) = (b.bond + amount, 0, 0);
        emit ThawCancelled(msg.sender, amount);
    }

    /// @inheritdoc IGateways
    function withdraw(address to) external nonReentrant returns (uint96 amount) {
        Bond storage b = _bonds[msg.sender];
        amount = b.thawing;
        if (amount == 0) revert NothingThaws(msg.sender);
        if (block.number < b.thawsAt) revert StillThawing(block.number, b.thawsAt);
        (b.thawing, b.thawsAt) = (0, 0);
        emit Unbonded(msg.sender, to, amount);
        token.safeTransfer(to, amount);
    }

    /// @inheritdoc IGateways
    function slash(address gateway, uint256 amount) external onlySettlement nonReentrant returns (uint96 taken) {
        Bond storage b = _bonds[gateway];
        uint96 fromBond = uint96(Math.min(amount, b.bond));
        uint96 fromThawing = uint96(Math.min(amount - fromBond, b.thawing));
        taken = fromBond + fromThawing;
        if (taken == 0) return 0;
        (b.bond, b.thawing) = (b.bond - fromBond, b.thawing - fromThawing);
        emit Slashed(gateway, fromBond, fromThawing);
        token.safeTransfer(escrow, taken);
    }

    /// @inheritdoc IGateways
    function bondOf(address gateway) external view returns (Bond memory) {
        return _bonds[gateway];
    }

    /// @inheritdoc IGateways
    function isBonded(address gateway) external view returns (bool) {
        return _bonds[gateway].bond >= params.chargesAt(_current()).gatewayBond;
    }
}
