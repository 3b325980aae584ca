// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Clock} from "./Clock.sol";
import {IParams} from "./interfaces/IParams.sol";
import {IServices} from "./interfaces/IServices.sol";
import {Timeline} from "./lib/Timeline.sol";

/// @title Services: see IServices
contract Services is IServices, Clock {
    using SafeERC20 for IERC20;
    using Timeline for Timeline.History;

    /// @dev `terms` is `maxPrice << 16 | ownerShare`.
    struct Stored {
        address owner;
        uint32 number;
        Timeline.History terms;
        bytes32 kind;
        bytes32 specHash;
        string uri;
    }

    uint256 private constant URI_MAX = 512;

    IParams public immutable params;
    IERC20 public immutable token;

    mapping(bytes32 service => Stored) private _services;
    mapping(bytes32 service => address) public proposedOwner;
    bytes32[] private _ids;

    constructor(IParams params_, IERC20 token_) Clock(params_.windows()) {
        (params, token) = (params_, token_);
    }

    modifier onlyServiceOwner(bytes32 service) {
        _onlyOwner(service);
        _;
    }

    /// @inheritdoc IServices
    function add(
        bytes32 service,
        bytes32 kind,
        bytes32 specHash,
        string calldata uri,
        uint64 maxPrice,
        uint16 ownerShare,
        uint96 feeLimit
    ) external returns (uint32 number) {
        if (!_isId(service)) revert BadServiceId(service);
        if (_services[service].owner != address(0)) revert ServiceExists(service);
        uint256 fee = params.chargesAt(_current()).serviceFee;
        if (fee > feeLimit) revert FeeAboveLimit(fee, feeLimit);
        number = uint32(_ids.length);
        _ids.push(service);
        Stored storage stored = _services[service];
        (stored.owner, stored.number, stored.kind) = (msg.sender, number, kind);
        emit ServiceAdded(service, msg.sender, number, kind, specHash, uri, maxPrice, ownerShare);
        _setSpec(stored, specHash, uri);
        _setTerms(service, maxPrice, ownerShare);
        if (fee > 0) token.safeTransferFrom(msg.sender, params.treasury(), fee);
    }

    /// @inheritdoc IServices
    function setTerms(bytes32 service, uint64 maxPrice, uint16 ownerShare) external onlyServiceOwner(service) {
        _setTerms(service, maxPrice, ownerShare);
    }

    /// @inheritdoc IServices
    function setSpec(bytes32 service, bytes32 specHash, string calldata uri) external onlyServiceOwner(service) {
        _setSpec(_services[service], specHash, uri);
        emit SpecChanged(service, specHash, uri);
    }

    /// @inheritdoc IServices
    function proposeOwner(bytes32 service, address owner) external onlyServiceOwner(service) {
        proposedOwner[service] = owner;
        emit OwnerProposed(service, owner);
    }

    /// @inheritdoc IServices
    function acceptOwner(bytes32 service) external {
        address proposed = proposedOwner[service];
        if (msg.sender != proposed) revert NotServiceOwner(service, msg.sender, proposed);
        delete proposedOwner[service];
        _services[service].owner = msg.sender;
        emit OwnerChanged(service, msg.sender);
    }

    /// @inheritdoc IServices
    function serviceOf(bytes32 service) external view returns (Service memory) {
        Stored storage stored = _services[service];
        (uint32 number, uint64 maxPrice, uint16 ownerShare) = termsAt(service, _current());
        return Service(stored.owner, number, stored.kind, stored.specHash, stored.uri, maxPrice, ownerShare);
    }

    /// @inheritdoc IServices
    function ownerOf(bytes32 service) public view returns (address owner) {
        owner = _services[service].owner;
        if (owner == address(0)) revert NoService(service);
    }

    /// @inheritdoc IServices
    function termsAt(bytes32 service, uint32 session)
        public
        view
        returns (uint32 number, uint64 maxPrice, uint16 ownerShare)
    {
        Stored storage stored = _services[service];
        if (stored.owner == address(0)) revert NoService(service);
        uint256 word = stored.terms.during(session);
        return (stored.number, uint64(word >> 16), uint16(word));
    }

    /// @inheritdoc IServices
    function count() external view returns (uint256) {
        return _ids.length;
    }

    /// @inheritdoc IServices
    function idOf(uint32 number) external view returns (bytes32) {
        return _ids[number];
    }

    function _onlyOwner(bytes32 service) private view {
        address owner = ownerOf(service);
        if (msg.sender != owner) revert NotServiceOwner(service, msg.sender, owner);
    }

    function _setTerms(bytes32 service, uint64 maxPrice, uint16 ownerShare) private {
        uint32 from = _next();
        uint256 most = params.rulesAt(from).ownerShareMax;
        if (ownerShare > most) revert OwnerShareTooHigh(ownerShare, most);
        _services[service].terms.set(from, (uint224(maxPrice) << 16) | ownerShare);
        emit TermsChanged(service, maxPrice, ownerShare, from);
    }

    function _setSpec(Stored storage stored, bytes32 specHash, string calldata uri) private {
        if (bytes(uri).length > URI_MAX) revert UriTooLong(bytes(uri).length, URI_MAX);
        (stored.specHash, stored.uri) = (specHash, uri);
    }

    /// @dev Rule 1.4: characters, then zeros to the end.
    function _isId(bytes32 id) private pure returns (bool) {
        uint256 length;
        while (length < 32 && id[length] != 0) {
            bytes1 c = id[length];
            bool letter = c >= "a" && c <= "z";
            bool digit = c >= "0" && c <= "9";
            if (!letter && !digit && c != "." && c != "_" && c != "-") return false;
            ++length;
        }
        return length > 0 && (length == 32 || id << (8 * length) == 0);
    }
}
