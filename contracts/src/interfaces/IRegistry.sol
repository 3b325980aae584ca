// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ITill} from "./ITill.sol";

/// @title Who offers what (rules 4.3 and 4.7)
/// @notice A registration is one supplier's offer of one service. All registrations of a service that are in it fill
/// the indices 0 .. count-1 without gaps. What an index holds in a session is a *slot*:
/// `profile address (160 bits) << 64 | price (64 bits)`, so that settlement reads one word for each supplier. A
/// profile is a contract without code to run that stores, never to change, the bytes
/// `0x00 | registration u32 | operator 20 | fingerprint 32 | payouts u8 | payouts * (address 20 | share u16) | endpoint`.
/// @dev Every change holds from the first block of the next session; what held before stays readable for good.
interface IRegistry is ITill {
    /// @param account who is paid.
    /// @param share of the registration's pay in 1/10,000; all shares sum to 10,000.
    struct Payout {
        address account;
        uint16 share;
    }

    /// @param operator hot key: signs Responses; one key belongs to one registration of a service for good.
    /// @param fingerprint SHA-256 of the TLS certificate; zero where the transport is plain text.
    /// @param endpoint host:port, at most 256 bytes.
    /// @param payouts 1 to 8.
    struct Profile {
        address operator;
        bytes32 fingerprint;
        string endpoint;
        Payout[] payouts;
    }

    /// @notice A supplier as a session sees it.
    struct Supplier {
        uint32 index;
        uint32 registration;
        address operator;
        uint64 price;
        bytes32 fingerprint;
        string endpoint;
    }

    /// @param listed true if the registration is in the service's indices from the next session on.
    /// @param index its index from the next session on, where listed.
    /// @param bond base units that are bonded and not thawing.
    /// @param thawsAt first block in which `thawing` can be withdrawn; 0 if nothing thaws.
    struct Registration {
        address owner;
        bytes32 service;
        bool listed;
        uint32 index;
        uint96 bond;
        uint96 thawing;
        uint64 thawsAt;
        uint64 price;
        Profile profile;
    }

    event Registered(
        uint32 indexed registration,
        bytes32 indexed service,
        address indexed operator,
        address owner,
        uint64 price,
        address profile,
        uint96 bond
    );
    event ProfileChanged(uint32 indexed registration, address indexed operator, address profile, uint32 fromSession);
    event PriceChanged(uint32 indexed registration, uint64 price, uint32 fromSession);
    event Listed(uint32 indexed registration, bytes32 indexed service, uint32 index, uint32 fromSession);
    event Delisted(uint32 indexed registration, bytes32 indexed service, uint32 index, uint32 fromSession);
    /// @notice `registration` takes the index of one that leaves.
    event Moved(uint32 indexed registration, bytes32 indexed service, uint32 index, uint32 fromSession);
    event Bonded(uint32 indexed registration, address indexed from, uint96 amount);
    event ThawStarted(uint32 indexed registration, uint96 amount, uint64 thawsAt);
    event ThawCancelled(uint32 indexed registration, uint96 amount);
    event Unbonded(uint32 indexed registration, address indexed to, uint96 amount);
    event Slashed(uint32 indexed registration, uint96 fromBond, uint96 fromThawing);
    event OwnerProposed(uint32 indexed registration, address indexed owner);
    event OwnerChanged(uint32 indexed registration, address indexed owner);

    error NoRegistration(uint32 registration);
    error NotOwner(uint32 registration, address caller, address owner);
    error OperatorTaken(bytes32 service, address operator, uint32 registration);
    /// @notice The operator key did not agree to serve this owner.
    error NoConsent(address operator, address signer);
    error ZeroOperator();
    error PriceTooHigh(uint64 price, uint64 most);
    error BadPayouts(uint256 count, uint256 shares);
    error BadEndpoint(uint256 length, uint256 most);
    error BondTooLow(uint256 bond, uint256 least);
    error BondTooHigh(uint256 bond, uint256 most);
    error BondSuffices(uint256 bond, uint256 least);
    error AlreadyListed(uint32 registration);
    error NotListed(uint32 registration);
    error NothingThaws(uint32 registration);
    error StillThawing(uint256 blockNumber, uint256 thawsAt);
    error MoreThanBonded(uint256 asked, uint256 bonded);
    error NoSuchIndex(uint256 index, uint256 count);

    /// @notice Offers `service` from the next session on; the caller is the owner and bonds `bond`.
    /// @param price base units per million units, at most the service's maximum.
    /// @param bond base units, at least the param; pulled from the caller.
    /// @param consent the operator's 65-byte signature over EIP-712 `Operate(address owner,bytes32 service)` under the
    /// domain (`pocketnode`, `1`, chain, this contract), since a profile decides where the operator's work is paid.
    /// May be empty where the caller is the operator.
    function register(
        bytes32 service,
        Profile calldata profile,
        uint64 price,
        uint96 bond,
        bytes calldata consent
    ) external returns (uint32 registration);

    /// @notice Replaces operator, fingerprint, endpoint and payouts from the next session on. Owner only.
    /// @param consent as for `register`; may be empty if the operator stays or is the caller.
    function setProfile(uint32 registration, Profile calldata profile, bytes calldata consent) external;

    /// @notice Changes the price from the next session on. Owner or operator.
    function setPrice(uint32 registration, uint64 price) external;

    /// @notice Adds to a registration's bond. Anyone may.
    function addBond(uint32 registration, uint96 amount) external;

    /// @notice Starts to take `amount` out of the bond; what thaws already starts anew with it. Owner only.
    /// @dev If less than the least bond stays, the registration is delisted from the next session on. Thawing money
    /// can still be slashed.
    function thaw(uint32 registration, uint96 amount) external;

    /// @notice Leaves: thaws the whole bond. Owner only.
    function thawAll(uint32 registration) external;

    /// @notice Puts all that thaws back into the bond and lists the registration again if that suffices. Owner only.
    function cancelThaw(uint32 registration) external;

    /// @notice Lists a registration again (after a slash, say). Owner only.
    function join(uint32 registration) external;

    /// @notice Delists a registration whose bond is below the least. Anyone may.
    function evict(uint32 registration) external;

    /// @notice Sends what has thawed to `to`. Owner only.
    function withdraw(uint32 registration, address to) external returns (uint96 amount);

    function proposeOwner(uint32 registration, address owner) external;

    function acceptOwner(uint32 registration) external;

    /// @notice Takes up to `share`/10,000 of bond and thawing bond and sends it to the treasury. Settlement only.
    function slash(uint32 registration, uint256 share) external returns (uint96 amount);

    /// @notice A registration as it will stand from the next session on.
    function registrationOf(uint32 registration) external view returns (Registration memory);

    /// @notice The registration that an operator key belongs to in a service; 0 if none (ids start at 1).
    function registrationBy(bytes32 service, address operator) external view returns (uint32);

    /// @notice Registrations made so far; ids are 1 to this.
    function registrations() external view returns (uint32);

    /// @notice How many registrations are in a service in a session.
    function countAt(bytes32 service, uint32 session) external view returns (uint32);

    /// @notice Count, and the slot of each index. Indices at or above the count hold nothing of meaning.
    function slotsAt(bytes32 service, uint32 session, uint32[] calldata indices)
        external
        view
        returns (uint256 count, uint256[] memory slots);

    /// @notice The slot of one index.
    function slotAt(bytes32 service, uint32 session, uint32 index) external view returns (uint256);

    /// @notice One supplier. Reverts with NoSuchIndex.
    function supplierAt(bytes32 service, uint32 session, uint32 index) external view returns (Supplier memory);

    /// @notice What the profile contract at an address holds.
    function profileAt(address profile) external view returns (uint32 registration, Profile memory);
}
