// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Who is paid what (section 5)
/// @notice Nobody owns this contract; it cannot be paused, changed or swapped. Money is owed by *pot*, one for each
/// session and gateway: `pot = keccak256(abi.encode(bytes32 session, address gateway))`.
///
/// A statement's packed entries are 14 bytes each: `index u32 | units u64 | quality u16`, ascending by index (rule 5.3).
/// The contract prices them into 27 bytes each, in the same order:
/// `index u32 | rank u8 | amount u96 | quality u16 | units u64`, emits these in `Stated` and keeps only their keccak256.
/// Whoever claims, withdraws or collects gives them back.
interface ISettlement {
    /// @dev EIP-712 type (rule 1.3); signed by the gateway.
    struct Statement {
        address application;
        bytes32 service;
        uint64 session;
        bytes entries;
        bytes32 relaysRoot;
    }

    /// @dev EIP-712 type (rule 1.3); signed by the gateway.
    struct Receipt {
        bytes32 session;
        address supplier;
        bytes32 lane;
        uint64 seq;
        uint128 total;
        uint128 hold;
        bytes32 request;
    }

    /// @dev EIP-712 type (rule 1.3); signed by the supplier's operator.
    struct Response {
        bytes32 receipt;
        bytes32 payload;
        uint128 units;
        uint32 firstByteMs;
        uint32 doneMs;
        bytes32 backend;
    }

    /// @notice Names a pot by what it is the hash of.
    struct PotKey {
        address application;
        bytes32 service;
        uint32 session;
        address gateway;
    }

    /// @notice A pot with its priced entries; empty where no statement was made.
    struct PotRef {
        PotKey key;
        bytes priced;
    }

    /// @notice What `withdraw` is asked for: one registration's rank in one pot.
    struct PayRef {
        PotKey key;
        uint8 rank;
        bytes priced;
    }

    /// @notice The newest Receipt of a lane, without what all of a claim's Receipts share (session and supplier).
    struct LaneReceipt {
        bytes32 lane;
        uint64 seq;
        uint128 total;
        uint128 hold;
        bytes32 request;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice The supplier's Response to the Receipt at `position` of the claim's lanes.
    struct LaneResponse {
        uint32 position;
        bytes32 payload;
        uint128 units;
        uint32 firstByteMs;
        uint32 doneMs;
        bytes32 backend;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @param commit keccak256 of the priced entries; zero where no statement was made.
    /// @param taken what the pot took from escrow so far, base units.
    /// @param excess sum of what claims demand above the statement; stops at 2^88 - 1, above any cap.
    /// @param withdrawn bit by rank.
    /// @param collected whether the fee has been paid out.
    struct Pot {
        bytes32 commit;
        uint96 taken;
        uint88 excess;
        uint64 withdrawn;
        bool collected;
    }

    /// @param amount claimed, base units.
    /// @param units claimed.
    /// @param index of the registration in the session.
    /// @param faulted whether the gateway's bond paid: see `compensationOf`.
    struct Claim {
        uint96 amount;
        uint64 units;
        uint32 index;
        bool faulted;
    }

    event Stated(
        bytes32 indexed pot,
        address indexed application,
        address indexed gateway,
        bytes32 service,
        uint32 session,
        uint96 taken,
        bytes32 relaysRoot,
        bytes priced
    );
    event Claimed(
        bytes32 indexed pot,
        uint32 indexed registration,
        uint8 rank,
        uint64 units,
        uint96 amount,
        uint96 taken
    );
    /// @notice Rule 5.15: the gateway's bond pays `amount` to the registration, on withdrawal.
    event GatewayFaulted(
        bytes32 indexed pot, uint32 indexed registration, address indexed gateway, uint64 units, uint96 amount
    );
    /// @notice Rule 5.16.
    event SupplierFaulted(uint32 indexed registration, bytes32 indexed receipt, uint96 amount);
    event Withdrawn(bytes32 indexed pot, uint32 indexed registration, uint8 rank, uint256 amount);
    event Collected(bytes32 indexed pot, bytes32 indexed service, address owner, uint256 ownerAmount, uint256 treasuryAmount);

    error WindowClosed(uint32 session, uint256 blockNumber, uint256 opens, uint256 closes);
    error SessionTooFar(uint64 session);
    error WrongSigner(address expected, address actual);
    error AlreadyStated(bytes32 pot);
    error NoGrant(address application, address gateway, bytes32 service, uint32 session);
    error BadEntries(uint256 length);
    error NotAscending(uint256 position, uint256 value, uint256 previous);
    error NoUnits(uint256 position);
    error BadQuality(uint256 position, uint256 quality, uint256 least);
    error NotInSession(uint256 index, uint256 rank, uint256 suppliers);
    error OverCap(uint256 amount, uint256 cap);
    error WrongPriced(bytes32 given, bytes32 committed);
    error NoLanes();
    error LaneNotAscending(uint256 position, bytes32 lane, bytes32 previous);
    error NoSuchLane(uint256 position, uint256 lanes);
    error TooManyUnits(uint256 units);
    error AmountTooHigh(uint256 amount);
    /// @notice A claim must be for more than both the statement and the claim before it.
    error ClaimTooLow(uint256 units, uint256 atLeast);
    error NotInPot(bytes32 pot, uint8 rank);
    error NotRegistration(uint32 registration, uint32 actual);
    error NothingToWithdraw(uint32 registration);
    error AlreadyCollected(bytes32 pot);
    error SameResponse(bytes32 response);
    error OtherReceipt(bytes32 expected, bytes32 actual);
    error AlreadyReported(bytes32 receipt);
    error UnknownOperator(bytes32 service, address operator);

    /// @notice Takes a gateway's account of a whole session (rules 5.3 and 5.4). Anyone may post it.
    /// @param signature the gateway's, 65 bytes r, s, v.
    function postStatement(Statement calldata statement, address gateway, bytes calldata signature)
        external
        returns (uint256 taken);

    /// @notice Takes a supplier's own demand with its proof (rule 5.7).
    /// @dev Anyone may post it: receipts and responses carry their own proof, it can only raise what its registration
    /// is paid, and nobody else is.
    /// @param index the registration's index in the session.
    /// @param priced the statement's priced entries; empty where there is none.
    /// @param lanes by strictly ascending lane id.
    /// @param responses by strictly ascending position; may leave out lanes.
    function claim(
        PotKey calldata key,
        uint32 index,
        bytes calldata priced,
        LaneReceipt[] calldata lanes,
        LaneResponse[] calldata responses
    ) external returns (uint256 amount);

    /// @notice Pays a registration what final pots owe it, to the payouts of its profile in that session. Anyone may.
    /// @dev Pots it has been paid from already are skipped; reverts with NothingToWithdraw if that is all of them.
    /// @return paid base units, each pot's amount rounded down.
    function withdraw(uint32 registration, PayRef[] calldata pots) external returns (uint256 paid);

    /// @notice Pays the fee and all dust of final pots to service owners and the treasury (rule 5.12). Anyone may.
    function collect(PotRef[] calldata pots) external returns (uint256 paid);

    /// @notice Slashes a supplier that signed two Responses to one Receipt (rule 5.16). Anyone may, at any time, once.
    function reportEquivocation(
        address application,
        bytes32 service,
        uint32 session,
        Receipt calldata receipt,
        Response calldata first,
        bytes calldata firstSignature,
        Response calldata second,
        bytes calldata secondSignature
    ) external returns (uint96 slashed);

    function potId(PotKey calldata key) external pure returns (bytes32);

    function potOf(bytes32 pot) external view returns (Pot memory);

    function claimOf(bytes32 pot, uint8 rank) external view returns (Claim memory);

    /// @notice What the gateway's bond pays the supplier of a rank (rule 5.15), base units.
    function compensationOf(bytes32 pot, uint8 rank) external view returns (uint96);

    /// @notice What each rank of a pot gets as things stand, compensation left out, and the fee.
    function payOf(PotRef calldata ref) external view returns (uint256[] memory amounts, uint256 fee);

    /// @notice EIP-712 digests, for who wants to check theirs.
    function statementDigest(Statement calldata statement) external view returns (bytes32);

    function receiptDigest(Receipt calldata receipt) external view returns (bytes32);

    function responseDigest(Response calldata response) external view returns (bytes32);

    function domainSeparator() external view returns (bytes32);
}
