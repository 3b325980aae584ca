// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Clock} from "./Clock.sol";
import {Till} from "./Till.sol";
import {IParams} from "./interfaces/IParams.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IServices} from "./interfaces/IServices.sol";
import {Profiles} from "./lib/Profiles.sol";
import {Timeline} from "./lib/Timeline.sol";

/// @title Registry: see IRegistry
contract Registry is IRegistry, Clock, Till, EIP712 {
    using SafeERC20 for IERC20;
    using Timeline for Timeline.History;

    /// @dev Index, service and `listed` are as from the next session on. `parked` is the slot while not listed.
    struct Stored {
        address owner;
        uint32 index;
        uint32 service;
        bool listed;
        uint96 bond;
        uint96 thawing;
        uint64 thawsAt;
        uint224 parked;
    }

    uint256 private constant PAYOUTS_MAX = 8;
    uint256 private constant ENDPOINT_MAX = 256;
    uint256 private constant WHOLE = 10_000;
    bytes32 private constant OPERATE = keccak256("Operate(address owner,bytes32 service)");

    IParams public immutable params;
    IServices public immutable services;

    uint32 public registrations;
    mapping(uint32 registration => Stored) private _registrations;
    mapping(uint32 registration => address) public proposedOwner;
    mapping(bytes32 service => mapping(address operator => uint32)) public registrationBy;
    mapping(bytes32 service => mapping(uint256 index => Timeline.History)) private _slots;
    mapping(bytes32 service => Timeline.History) private _counts;

    constructor(IParams params_, IServices services_, IERC20 token_)
        Clock(params_.windows())
        Till(token_)
        EIP712("pocketnode", "1")
    {
        (params, services) = (params_, services_);
    }

    modifier onlyOwner(uint32 id) {
        _onlyOwner(id);
        _;
    }

    /// @inheritdoc IRegistry
    function register(
        bytes32 service,
        Profile calldata profile,
        uint64 price,
        uint96 bond,
        bytes calldata consent
    ) external nonReentrant returns (uint32 id) {
        uint32 from = _next();
        (uint32 number, uint64 maxPrice,) = services.termsAt(service, from);
        if (price > maxPrice) revert PriceTooHigh(price, maxPrice);
        uint256 least = _leastBond(from);
        if (bond < least) revert BondTooLow(bond, least);
        _check(profile);
        id = ++registrations;
        Stored storage r = _registrations[id];
        (r.owner, r.service, r.bond) = (msg.sender, number, bond);
        _claimOperator(id, service, msg.sender, profile.operator, consent);
        address written = Profiles.write(id, profile);
        emit Registered(id, service, profile.operator, msg.sender, price, written, bond);
        _list(id, r, service, from, _slot(written, price));
        _pull(bond);
    }

    /// @inheritdoc IRegistry
    function setProfile(uint32 id, Profile calldata profile, bytes calldata consent) external onlyOwner(id) {
        _check(profile);
        Stored storage r = _registrations[id];
        bytes32 service = services.idOf(r.service);
        if (registrationBy[service][profile.operator] != id) {
            _claimOperator(id, service, msg.sender, profile.operator, consent);
        }
        address written = Profiles.write(id, profile);
        uint32 from = _setSlot(r, service, _slot(written, uint64(_latest(r, service))));
        emit ProfileChanged(id, profile.operator, written, from);
    }

    /// @inheritdoc IRegistry
    function setPrice(uint32 id, uint64 price) external {
        Stored storage r = _registrations[id];
        if (r.owner == address(0)) revert NoRegistration(id);
        bytes32 service = services.idOf(r.service);
        address profile = address(uint160(_latest(r, service) >> 64));
        (, address operator) = Profiles.head(profile);
        if (msg.sender != r.owner && msg.sender != operator) revert NotOwner(id, msg.sender, r.owner);
        (, uint64 maxPrice,) = services.termsAt(service, _next());
        if (price > maxPrice) revert PriceTooHigh(price, maxPrice);
        uint32 from = _setSlot(r, service, _slot(profile, price));
        emit PriceChanged(id, price, from);
    }

    /// @inheritdoc IRegistry
    function addBond(uint32 id, uint96 amount) external nonReentrant {
        Stored storage r = _registrations[id];
        if (r.owner == address(0)) revert NoRegistration(id);
        // Bond and thawing together must fit, so that cancelling a thaw never fails.
        uint256 total = uint256(r.bond) + r.thawing + amount;
        if (total > type(uint96).max) revert BondTooHigh(total, type(uint96).max);
        r.bond += amount;
        emit Bonded(id, msg.sender, amount);
        _pull(amount);
    }

    /// @inheritdoc IRegistry
    function thaw(uint32 id, uint96 amount) external onlyOwner(id) {
        _thaw(id, amount);
    }

    /// @inheritdoc IRegistry
    function thawAll(uint32 id) external onlyOwner(id) {
        _thaw(id, _registrations[id].bond);
    }

    /// @inheritdoc IRegistry
    function cancelThaw(uint32 id) external onlyOwner(id) {
        Stored storage r = _registrations[id];
        uint96 amount = r.thawing;
        if (amount == 0) revert NothingThaws(id);
        (r.bond, r.thawing, r.thawsAt) = (r.bond + amount, 0, 0);
        emit ThawCancelled(id, amount);
        uint32 from = _next();
        if (!r.listed && r.bond >= _leastBond(from)) _list(id, r, services.idOf(r.service), from, r.parked);
    }

    /// @inheritdoc IRegistry
    function join(uint32 id) external onlyOwner(id) {
        Stored storage r = _registrations[id];
        if (r.listed) revert AlreadyListed(id);
        uint32 from = _next();
        uint256 least = _leastBond(from);
        if (r.bond < least) revert BondTooLow(r.bond, least);
        _list(id, r, services.idOf(r.service), from, r.parked);
    }

    /// @inheritdoc IRegistry
    function evict(uint32 id) external {
        Stored storage r = _registrations[id];
        if (!r.listed) revert NotListed(id);
        uint32 from = _next();
        uint256 least = _leastBond(from);
        if (r.bond >= least) revert BondSuffices(r.bond, least);
        _delist(id, r, from);
    }

    /// @inheritdoc IRegistry
    function withdraw(uint32 id, address to) external nonReentrant onlyOwner(id) returns (uint96 amount) {
        Stored storage r = _registrations[id];
        amount = r.thawing;
        if (amount == 0) revert NothingThaws(id);
        if (block.number < r.thawsAt) revert StillThawing(block.number, r.thawsAt);
        (r.thawing, r.thawsAt) = (0, 0);
        emit Unbonded(id, to, amount);
        token.safeTransfer(to, amount);
    }

    /// @inheritdoc IRegistry
    function proposeOwner(uint32 id, address owner) external onlyOwner(id) {
        proposedOwner[id] = owner;
        emit OwnerProposed(id, owner);
    }

    /// @inheritdoc IRegistry
    function acceptOwner(uint32 id) external {
        address proposed = proposedOwner[id];
        if (msg.sender != proposed) revert NotOwner(id, msg.sender, proposed);
        delete proposedOwner[id];
        _registrations[id].owner = msg.sender;
        emit OwnerChanged(id, msg.sender);
    }

    /// @inheritdoc IRegistry
    function slash(uint32 id, uint256 share) external onlySettlement nonReentrant returns (uint96 amount) {
        Stored storage r = _registrations[id];
        uint256 due = (uint256(r.bond) + r.thawing) * share / WHOLE;
        uint96 fromBond = uint96(Math.min(due, r.bond));
        uint96 fromThawing = uint96(Math.min(due - fromBond, r.thawing));
        amount = fromBond + fromThawing;
        (r.bond, r.thawing) = (r.bond - fromBond, r.thawing - fromThawing);
        emit Slashed(id, fromBond, fromThawing);
        _give(params.treasury(), amount);
    }

    /// @inheritdoc IRegistry
    function registrationOf(uint32 id) external view returns (Registration memory out) {
        Stored storage r = _registrations[id];
        if (r.owner == address(0)) revert NoRegistration(id);
        bytes32 service = services.idOf(r.service);
        uint256 slot = _latest(r, service);
        (, Profile memory profile) = Profiles.read(address(uint160(slot >> 64)));
        return Registration(
            r.owner, service, r.listed, r.index, r.bond, r.thawing, r.thawsAt, uint64(slot), profile
        );
    }

    /// @inheritdoc IRegistry
    function countAt(bytes32 service, uint32 session) public view returns (uint32) {
        return uint32(_counts[service].during(session));
    }

    /// @inheritdoc IRegistry
    function slotsAt(bytes32 service, uint32 session, uint32[] calldata indices)
        external
        view
        returns (uint256 count, uint256[] memory slots)
    {
        count = countAt(service, session);
        slots = new uint256[](indices.length);
        mapping(uint256 index => Timeline.History) storage ofService = _slots[service];
        for (uint256 i; i < indices.length; ++i) {
            slots[i] = ofService[indices[i]].during(session);
        }
    }

    /// @inheritdoc IRegistry
    function slotAt(bytes32 service, uint32 session, uint32 index) external view returns (uint256) {
        return _slots[service][index].during(session);
    }

    /// @inheritdoc IRegistry
    function supplierAt(bytes32 service, uint32 session, uint32 index) external view returns (Supplier memory) {
        uint256 count = countAt(service, session);
        if (index >= count) revert NoSuchIndex(index, count);
        uint256 slot = _slots[service][index].during(session);
        (uint32 id, Profile memory p) = Profiles.read(address(uint160(slot >> 64)));
        return Supplier(index, id, p.operator, uint64(slot), p.fingerprint, p.endpoint);
    }

    /// @inheritdoc IRegistry
    function profileAt(address profile) external view returns (uint32 registration, Profile memory) {
        return Profiles.read(profile);
    }

    function _onlyOwner(uint32 id) private view {
        address owner = _registrations[id].owner;
        if (owner == address(0)) revert NoRegistration(id);
        if (msg.sender != owner) revert NotOwner(id, msg.sender, owner);
    }

    /// @dev Gives the registration the index after the last from session `from` on.
    function _list(uint32 id, Stored storage r, bytes32 service, uint32 from, uint224 slot) private {
        uint32 index = uint32(_counts[service].latest());
        _counts[service].set(from, index + 1);
        _slots[service][index].set(from, slot);
        (r.index, r.listed) = (index, true);
        emit Listed(id, service, index, from);
    }

    /// @dev Gives its index to the last registration of the service (rule 4.3).
    function _delist(uint32 id, Stored storage r, uint32 from) private {
        bytes32 service = services.idOf(r.service);
        uint32 index = r.index;
        uint32 last = uint32(_counts[service].latest()) - 1;
        (r.listed, r.parked) = (false, _slots[service][index].latest());
        _counts[service].set(from, last);
        emit Delisted(id, service, index, from);
        if (index == last) return;
        uint224 slot = _slots[service][last].latest();
        uint32 moved = Profiles.registration(address(uint160(slot >> 64)));
        _slots[service][index].set(from, slot);
        _registrations[moved].index = index;
        emit Moved(moved, service, index, from);
    }

    function _thaw(uint32 id, uint96 amount) private {
        Stored storage r = _registrations[id];
        if (amount == 0) revert ZeroAmount();
        if (amount > r.bond) revert MoreThanBonded(amount, r.bond);
        uint64 thawsAt = SafeCast.toUint64(block.number + THAW);
        (r.bond, r.thawing, r.thawsAt) = (r.bond - amount, r.thawing + amount, thawsAt);
        emit ThawStarted(id, amount, thawsAt);
        uint32 from = _next();
        if (r.listed && (r.bond == 0 || r.bond < _leastBond(from))) _delist(id, r, from);
    }

    function _setSlot(Stored storage r, bytes32 service, uint224 slot) private returns (uint32 from) {
        from = _next();
        if (r.listed) _slots[service][r.index].set(from, slot);
        else r.parked = slot;
    }

    /// @dev A key once used is never free again: sessions that are not settled yet may still name it.
    function _claimOperator(uint32 id, bytes32 service, address owner, address operator, bytes calldata consent) private {
        uint32 holder = registrationBy[service][operator];
        if (holder != 0) revert OperatorTaken(service, operator, holder);
        if (operator != msg.sender) {
            address signer = ECDSA.recover(_hashTypedDataV4(keccak256(abi.encode(OPERATE, owner, service))), consent);
            if (signer != operator) revert NoConsent(operator, signer);
        }
        registrationBy[service][operator] = id;
    }

    function _latest(Stored storage r, bytes32 service) private view returns (uint256) {
        return r.listed ? _slots[service][r.index].latest() : r.parked;
    }

    function _leastBond(uint32 session) private view returns (uint256) {
        return params.supplierBondAt(session);
    }

    function _slot(address profile, uint64 price) private pure returns (uint224) {
        return (uint224(uint160(profile)) << 64) | price;
    }

    function _check(Profile calldata p) private pure {
        if (p.operator == address(0)) revert ZeroOperator();
        uint256 length = bytes(p.endpoint).length;
        if (length == 0 || length > ENDPOINT_MAX) revert BadEndpoint(length, ENDPOINT_MAX);
        uint256 shares;
        bool valid = p.payouts.length > 0 && p.payouts.length <= PAYOUTS_MAX;
        for (uint256 i; valid && i < p.payouts.length; ++i) {
            shares += p.payouts[i].share;
            valid = p.payouts[i].account != address(0) && p.payouts[i].share > 0;
        }
        if (!valid || shares != WHOLE) revert BadPayouts(p.payouts.length, shares);
    }
}
