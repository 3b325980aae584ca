// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What is sold (rule 1.4)
/// @notice Anyone adds a service for a fee. Its owner earns a share of the fee on all pay in it, and can never touch
/// anybody's money: terms move at session boundaries, and a lower maximum price binds only prices set after it.
interface IServices {
    /// @param owner who may change it and earns its share of fees.
    /// @param number counts services from 0 in the order of their adding.
    /// @param kind what clients speak, text as left-aligned bytes32 ("openai", "evm").
    /// @param specHash keccak256 of the service spec's bytes.
    /// @param uri where the spec is found.
    /// @param maxPrice most a registration may ask, base units per million units.
    /// @param ownerShare of the fee, in 1/10,000, at most the param of the session.
    struct Service {
        address owner;
        uint32 number;
        bytes32 kind;
        bytes32 specHash;
        string uri;
        uint64 maxPrice;
        uint16 ownerShare;
    }

    event ServiceAdded(
        bytes32 indexed service,
        address indexed owner,
        uint32 number,
        bytes32 kind,
        bytes32 specHash,
        string uri,
        uint64 maxPrice,
        uint16 ownerShare
    );
    event TermsChanged(bytes32 indexed service, uint64 maxPrice, uint16 ownerShare, uint32 fromSession);
    event SpecChanged(bytes32 indexed service, bytes32 specHash, string uri);
    event OwnerProposed(bytes32 indexed service, address indexed owner);
    event OwnerChanged(bytes32 indexed service, address indexed owner);

    /// @notice Not 1 to 32 characters of [a-z0-9._-], left-aligned, padded with zeros (rule 1.4).
    error BadServiceId(bytes32 service);
    error ServiceExists(bytes32 service);
    error NoService(bytes32 service);
    error NotServiceOwner(bytes32 service, address caller, address owner);
    error OwnerShareTooHigh(uint256 share, uint256 most);
    /// @notice The fee to add a service is more than the caller agreed to.
    error FeeAboveLimit(uint256 fee, uint256 limit);
    error UriTooLong(uint256 length, uint256 most);

    /// @notice Adds a service; the caller owns it. Pulls the fee (a param) from the caller to the treasury.
    /// @param feeLimit most the caller is willing to pay, base units.
    function add(
        bytes32 service,
        bytes32 kind,
        bytes32 specHash,
        string calldata uri,
        uint64 maxPrice,
        uint16 ownerShare,
        uint96 feeLimit
    ) external returns (uint32 number);

    /// @notice Changes maximum price and owner's share from the next session on. Owner only.
    function setTerms(bytes32 service, uint64 maxPrice, uint16 ownerShare) external;

    /// @notice Changes what the spec is and where it is found, at once: it binds nobody. Owner only.
    function setSpec(bytes32 service, bytes32 specHash, string calldata uri) external;

    /// @notice Offers the service to `owner`, who must accept. Owner only.
    function proposeOwner(bytes32 service, address owner) external;

    function acceptOwner(bytes32 service) external;

    /// @notice A service as it stands now, with the terms of the running session.
    function serviceOf(bytes32 service) external view returns (Service memory);

    function ownerOf(bytes32 service) external view returns (address);

    /// @notice Number and terms in a session. Reverts with NoService.
    function termsAt(bytes32 service, uint32 session)
        external
        view
        returns (uint32 number, uint64 maxPrice, uint16 ownerShare);

    /// @notice Services added so far.
    function count() external view returns (uint256);

    /// @notice Id of the service of a number.
    function idOf(uint32 number) external view returns (bytes32);
}
