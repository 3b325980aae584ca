// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Clock} from "./Clock.sol";
import {Till} from "./Till.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {IParams} from "./interfaces/IParams.sol";
import {Timeline} from "./lib/Timeline.sol";

/// @title Escrow: see IEscrow
contract Escrow is IEscrow, Clock, Till {
    using SafeERC20 for IERC20;
    using Timeline for Timeline.History;

    struct Listed {
        address gateway;
        bytes32 service;
    }

    /// @dev `terms` is `cap << 32 | expiry`; `listed` is the position in the application's list plus one.
    struct Terms {
        Timeline.History terms;
        uint256 listed;
    }

    uint96 public constant CAP_MAX = type(uint88).max - 1;
    uint256 public constant GRANTS_MAX = 256;

    IParams public immutable params;
    bool public depositsPaused;

    mapping(address application => Account) private _accounts;
    // `grant` pushes to it through a storage pointer.
    // slither-disable-next-line uninitialized-state
    mapping(address application => Listed[]) private _lists;
    mapping(address application => mapping(address gateway => mapping(bytes32 service => Terms))) private _grants;

    constructor(IParams params_, IERC20 token_) Clock(params_.windows()) Till(token_) {
        params = params_;
    }

    /// @inheritdoc IEscrow
    function deposit(address application, uint112 amount) external nonReentrant {
        _deposit(application, amount);
    }

    // slither-disable-start reentrancy-benign
    // The permit goes to the token, as the deposit after it does; the guard holds throughout.

    /// @inheritdoc IEscrow
    function depositWithPermit(address application, uint112 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        nonReentrant
    {
        // Anyone may have used the permit first; what counts is the allowance that it left.
        try IERC20Permit(address(token)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _deposit(application, amount);
    }

    // slither-disable-end reentrancy-benign

    /// @inheritdoc IEscrow
    function thaw(uint112 amount) external {
        Account storage a = _accounts[msg.sender];
        if (amount == 0) revert ZeroAmount();
        if (amount > a.balance) revert MoreThanBalance(amount, a.balance);
        uint64 thawsAt = SafeCast.toUint64(block.number + THAW);
        _setBalance(a, a.balance - amount);
        (a.thawing, a.thawsAt) = (a.thawing + amount, thawsAt);
        emit ThawStarted(msg.sender, amount, thawsAt);
    }

    /// @inheritdoc IEscrow
    function cancelThaw() external {
        Account storage a = _accounts[msg.sender];
        uint112 amount = a.thawing;
        if (amount == 0) revert NothingThaws(msg.sender);
        _setBalance(a, a.balance + amount);
        (a.thawing, a.thawsAt) = (0, 0);
        emit ThawCancelled(msg.sender, amount);
    }

    /// @inheritdoc IEscrow
    function withdraw(address to) external nonReentrant returns (uint112 amount) {
        Account storage a = _accounts[msg.sender];
        amount = a.thawing;
        if (amount == 0) revert NothingThaws(msg.sender);
        if (block.number < a.thawsAt) revert StillThawing(block.number, a.thawsAt);
        (a.thawing, a.thawsAt) = (0, 0);
        emit Withdrawn(msg.sender, to, amount);
        token.safeTransfer(to, amount);
    }

    /// @inheritdoc IEscrow
    function grant(address gateway, bytes32 service, uint96 cap, uint32 expiry) external {
        uint32 from = _next();
        if (gateway == address(0)) revert ZeroGateway();
        if (cap > CAP_MAX) revert CapTooHigh(cap, CAP_MAX);
        if (cap > 0 && expiry < from) revert ExpiryPassed(expiry, from);
        Terms storage g = _grants[msg.sender][gateway][service];
        if (g.listed == 0) {
            Listed[] storage list = _lists[msg.sender];
            if (list.length == GRANTS_MAX) revert TooManyGrants(GRANTS_MAX);
            list.push(Listed(gateway, service));
            g.listed = list.length;
        }
        g.terms.set(from, (uint224(cap) << 32) | expiry);
        emit Granted(msg.sender, gateway, service, cap, expiry, from);
    }

    /// @inheritdoc IEscrow
    function forget(address application, uint256 position) external {
        Listed[] storage list = _lists[application];
        if (position >= list.length) revert NoGrantAt(position, list.length);
        Listed memory gone = list[position];
        Terms storage g = _grants[application][gone.gateway][gone.service];
        uint32 current = _current();
        bool inUse = _cap(g.terms.during(current), current) > 0 || _cap(g.terms.latest(), _next()) > 0;
        if (inUse) revert GrantInUse(gone.gateway, gone.service);
        Listed memory last = list[list.length - 1];
        list[position] = last;
        _grants[application][last.gateway][last.service].listed = position + 1;
        g.listed = 0;
        list.pop();
        emit Forgotten(application, gone.gateway, gone.service);
    }

    /// @inheritdoc IEscrow
    function pause() external {
        _onlyGovernance();
        depositsPaused = true;
        emit Paused(msg.sender);
    }

    /// @inheritdoc IEscrow
    function unpause() external {
        _onlyGovernance();
        depositsPaused = false;
        emit Unpaused(msg.sender);
    }

    /// @inheritdoc IEscrow
    function take(
        address application,
        address gateway,
        bytes32 service,
        uint32 session,
        uint256 already,
        uint256 wanted
    ) external onlySettlement returns (uint256 taken, uint256 cap) {
        cap = capAt(application, gateway, service, session);
        uint256 most = Math.min(wanted, cap);
        if (most <= already) return (0, cap);
        Account storage a = _accounts[application];
        taken = Math.min(most - already, a.balance);
        if (taken > 0) _setBalance(a, uint112(a.balance - taken));
        uint256 fromThawing;
        if (taken < most - already) {
            fromThawing = Math.min(most - already - taken, a.thawing);
            a.thawing -= uint112(fromThawing);
        }
        emit Taken(application, taken, fromThawing);
        taken += fromThawing;
    }

    /// @inheritdoc IEscrow
    function pay(address payee, uint256 amount) external onlySettlement nonReentrant {
        _give(payee, amount);
    }

    /// @inheritdoc IEscrow
    function accountOf(address application) external view returns (Account memory) {
        return _accounts[application];
    }

    /// @inheritdoc IEscrow
    function capAt(address application, address gateway, bytes32 service, uint32 session)
        public
        view
        returns (uint96)
    {
        return _cap(_grants[application][gateway][service].terms.during(session), session);
    }

    /// @inheritdoc IEscrow
    function grantsOf(address application) external view returns (Grant[] memory grants) {
        Listed[] storage list = _lists[application];
        grants = new Grant[](list.length);
        for (uint256 i; i < grants.length; ++i) {
            (address gateway, bytes32 service) = (list[i].gateway, list[i].service);
            uint224 word = _grants[application][gateway][service].terms.latest();
            grants[i] = Grant(gateway, service, uint96(word >> 32), uint32(word));
        }
    }

    /// @inheritdoc IEscrow
    function capsAt(address application, uint32 session) external view returns (uint256 sum) {
        (sum,) = _capsAt(application, bytes32(0), session);
    }

    /// @inheritdoc IEscrow
    function balanceAt(address application, uint32 session) public view returns (uint256 balance, bool known) {
        Account storage a = _accounts[application];
        if (session < a.session) return (0, false);
        return (session == a.session ? a.balanceAtStart : a.balance, true);
    }

    /// @inheritdoc IEscrow
    function covers(address application, bytes32 service, uint32 session) external view returns (bool) {
        (uint256 sum, uint256 ofService) = _capsAt(application, service, session);
        (uint256 balance, bool known) = balanceAt(application, session);
        return known && ofService > 0 && balance >= sum * unsettled();
    }

    function _onlyGovernance() private view {
        if (msg.sender != Ownable(address(params)).owner()) revert NotGovernance(msg.sender);
    }

    function _deposit(address application, uint112 amount) private {
        if (depositsPaused) revert DepositsPaused();
        if (application == address(0)) revert ZeroApplication();
        Account storage a = _accounts[application];
        // Balance and thawing together must fit, so that cancelling a thaw never fails.
        uint256 total = uint256(a.balance) + a.thawing + amount;
        if (total > type(uint112).max) revert BalanceTooHigh(total, type(uint112).max);
        _setBalance(a, a.balance + amount);
        emit Deposited(application, msg.sender, amount);
        _pull(amount);
    }

    /// @dev The first change in a session keeps what there was at its first block.
    function _setBalance(Account storage a, uint112 balance) private {
        uint32 current = _current();
        if (a.session != current) (a.session, a.balanceAtStart) = (current, a.balance);
        a.balance = balance;
    }

    function _capsAt(address application, bytes32 service, uint32 session)
        private
        view
        returns (uint256 sum, uint256 ofService)
    {
        Listed[] storage list = _lists[application];
        for (uint256 i; i < list.length; ++i) {
            uint256 cap = capAt(application, list[i].gateway, list[i].service, session);
            sum += cap;
            if (list[i].service == service) ofService += cap;
        }
    }

    function _cap(uint224 terms, uint32 session) private pure returns (uint96) {
        return session <= uint32(terms) ? uint96(terms >> 32) : 0;
    }
}
