// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ITill} from "./ITill.sol";

/// @title What pays (rule 4.6)
/// @notice Holds what applications put in and what settlement took from it, until it is paid out.
/// @dev Pausing stops deposits and nothing else.
interface IEscrow is ITill {
    /// @param balance base units that are neither thawing nor taken.
    /// @param balanceAtStart what `balance` was before the first block of `session`.
    /// @param session that of the account's last change.
    /// @param thawsAt first block in which `thawing` can be withdrawn; 0 if nothing thaws.
    struct Account {
        uint112 balance;
        uint112 balanceAtStart;
        uint32 session;
        uint112 thawing;
        uint64 thawsAt;
    }

    /// @param cap most the gateway can spend in each session, base units.
    /// @param expiry last session in which the grant is active.
    struct Grant {
        address gateway;
        bytes32 service;
        uint96 cap;
        uint32 expiry;
    }

    event Deposited(address indexed application, address indexed from, uint112 amount);
    event ThawStarted(address indexed application, uint112 amount, uint64 thawsAt);
    event ThawCancelled(address indexed application, uint112 amount);
    event Withdrawn(address indexed application, address indexed to, uint112 amount);
    event Taken(address indexed application, uint256 fromBalance, uint256 fromThawing);
    event Granted(
        address indexed application,
        address indexed gateway,
        bytes32 indexed service,
        uint96 cap,
        uint32 expiry,
        uint32 fromSession
    );
    event Forgotten(address indexed application, address indexed gateway, bytes32 indexed service);
    event Paused(address indexed by);
    event Unpaused(address indexed by);

    error DepositsPaused();
    error NotGovernance(address caller);
    error ZeroApplication();
    error ZeroGateway();
    error BalanceTooHigh(uint256 balance, uint256 most);
    error MoreThanBalance(uint256 asked, uint256 balance);
    error NothingThaws(address application);
    error StillThawing(uint256 blockNumber, uint256 thawsAt);
    error CapTooHigh(uint256 cap, uint256 most);
    error ExpiryPassed(uint32 expiry, uint32 fromSession);
    error TooManyGrants(uint256 most);
    error NoGrantAt(uint256 position, uint256 count);
    error GrantInUse(address gateway, bytes32 service);

    /// @notice Most a grant's cap can be: keeps all sums of settlement exact in their types.
    function CAP_MAX() external view returns (uint96);

    /// @notice Most grants an application can have listed at once.
    function GRANTS_MAX() external view returns (uint256);

    /// @notice Adds to the escrow of `application`, from the caller.
    function deposit(address application, uint112 amount) external;

    /// @notice As `deposit`, with an ERC-2612 permit of the caller. A permit used before it is no obstacle.
    function depositWithPermit(address application, uint112 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;

    /// @notice Starts to take `amount` out; what thaws already starts anew with it. It still pays what is owed.
    function thaw(uint112 amount) external;

    /// @notice Puts all that thaws back into the balance.
    function cancelThaw() external;

    /// @notice Sends what has thawed to `to`.
    function withdraw(address to) external returns (uint112 amount);

    /// @notice Lets `gateway` spend up to `cap` in each session of `service`, from the next session on, up to and with
    /// session `expiry`. Replaces a grant before it. `cap` 0 revokes.
    function grant(address gateway, bytes32 service, uint96 cap, uint32 expiry) external;

    /// @notice Takes a grant that can never be active again out of the application's list. Anyone may.
    /// @param position in `grantsOf`.
    function forget(address application, uint256 position) external;

    /// @notice Stops deposits. Governance only.
    function pause() external;

    function unpause() external;

    /// @notice Takes `min(wanted, cap) - already` for a pot, or what there is: from the balance first, then from what
    /// thaws. Settlement only.
    /// @param already what the pot took before.
    /// @return taken base units.
    /// @return cap what the gateway can spend in the session; 0 if no grant is active in it.
    function take(
        address application,
        address gateway,
        bytes32 service,
        uint32 session,
        uint256 already,
        uint256 wanted
    ) external returns (uint256 taken, uint256 cap);

    /// @notice Sends pot money to `payee`, or keeps it for them if the token refuses. Settlement only.
    function pay(address payee, uint256 amount) external;

    function accountOf(address application) external view returns (Account memory);

    function depositsPaused() external view returns (bool);

    /// @notice What a gateway can spend in a session; 0 if no grant is active in it.
    function capAt(address application, address gateway, bytes32 service, uint32 session)
        external
        view
        returns (uint96);

    /// @notice Grants in the application's list, as they stand from the next session on (cap 0: revoked).
    function grantsOf(address application) external view returns (Grant[] memory);

    /// @notice Sum of the caps active in a session, base units; exact for the running session and later ones.
    function capsAt(address application, uint32 session) external view returns (uint256);

    /// @notice The balance at a session's first block. For a session that has not begun it is what is there now.
    /// @return balance base units, thawing excluded.
    /// @return known false for sessions before that of the account's last change: their balance is not kept.
    function balanceAt(address application, uint32 session) external view returns (uint256 balance, bool known);

    /// @notice Rule 4.6: a grant for the service is active and the escrow at the first block covers P times all caps.
    /// @dev False where `balanceAt` does not know.
    function covers(address application, bytes32 service, uint32 session) external view returns (bool);
}
