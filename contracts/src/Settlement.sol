// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Clock} from "./Clock.sol";
import {Signed} from "./Signed.sol";
import {Entries} from "./lib/Entries.sol";
import {Lanes} from "./lib/Lanes.sol";
import {Pay} from "./lib/Pay.sol";
import {Profiles} from "./lib/Profiles.sol";
import {Selection} from "./lib/Selection.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {IGateways} from "./interfaces/IGateways.sol";
import {IParams} from "./interfaces/IParams.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IServices} from "./interfaces/IServices.sol";
import {ISessions} from "./interfaces/ISessions.sol";
import {ISettlement} from "./interfaces/ISettlement.sol";

/// @title Settlement: see ISettlement
contract Settlement is Signed, Clock, ReentrancyGuardTransient {
    /// @dev What a claim's lanes prove, in units.
    struct Proof {
        uint256 totals;
        uint256 holds;
        uint256 units;
    }

    /// @dev A supplier of a session.
    struct Member {
        uint256 rank;
        uint32 registration;
        address operator;
        uint256 price;
    }

    IParams public immutable params;
    IServices public immutable services;
    IRegistry public immutable registry;
    IGateways public immutable gateways;
    IEscrow public immutable escrow;
    ISessions public immutable sessions;

    mapping(bytes32 pot => Pot) private _pots;
    mapping(bytes32 pot => mapping(uint256 rank => Claim)) private _claims;
    mapping(bytes32 pot => mapping(uint256 rank => uint96)) private _compensations;
    mapping(bytes32 receipt => mapping(uint32 registration => bool)) private _reported;

    constructor(
        IParams params_,
        IServices services_,
        IRegistry registry_,
        IGateways gateways_,
        IEscrow escrow_,
        ISessions sessions_
    ) Clock(params_.windows()) {
        (params, services, registry) = (params_, services_, registry_);
        (gateways, escrow, sessions) = (gateways_, escrow_, sessions_);
    }

    // slither-disable-start reentrancy-no-eth
    // Escrow.take calls nobody, and all entrances of this contract that write are guarded.

    /// @inheritdoc ISettlement
    function postStatement(Statement calldata statement, address gateway, bytes calldata signature)
        external
        nonReentrant
        returns (uint256 taken)
    {
        if (statement.session > type(uint32).max) revert SessionTooFar(statement.session);
        uint32 session = uint32(statement.session);
        _within(session, endOf(session) + 1, statementsUntil(session));
        _signedBy(gateway, ECDSA.recover(statementDigest(statement), signature));
        PotKey memory key = PotKey(statement.application, statement.service, session, gateway);
        bytes32 id = _potId(key);
        if (_pots[id].commit != 0) revert AlreadyStated(id);
        (bytes memory priced, uint256 amount) = _price(key, statement.entries);
        _pots[id].commit = keccak256(priced);
        uint256 cap;
        (taken, cap) = _take(key.application, gateway, key.service, session, 0, amount);
        if (amount > cap) revert OverCap(amount, cap);
        _pots[id].taken = uint96(taken);
        emit Stated(
            id, key.application, gateway, key.service, session, uint96(taken), statement.relaysRoot, priced
        );
    }

    /// @inheritdoc ISettlement
    function claim(
        PotKey calldata key,
        uint32 index,
        bytes calldata priced,
        LaneReceipt[] calldata lanes,
        LaneResponse[] calldata responses
    ) external nonReentrant returns (uint256 amount) {
        _within(key.session, statementsUntil(key.session) + 1, claimsUntil(key.session));
        bytes32 sessionId = _sessionId(key.application, key.service, key.session);
        bytes32 id = keccak256(abi.encode(sessionId, key.gateway));
        Pot storage pot = _pots[id];
        _committed(pot, priced);
        Member memory member = _member(key, index);
        Proof memory proof = _prove(sessionId, key.gateway, member.operator, lanes, responses);
        Entries.Sums memory sums = Entries.sums(priced, member.rank);
        amount = Pay.amountDown(proof.units, member.price);
        if (amount > type(uint96).max) revert AmountTooHigh(amount);
        _raise(_claims[id][member.rank], pot, key, index, proof.units, amount, sums);
        emit Claimed(
            id, member.registration, uint8(member.rank), uint64(proof.units), uint96(amount), pot.taken
        );
        if (priced.length > 0 && proof.totals > sums.own.units + proof.holds) {
            _fault(id, key.gateway, member, proof.totals - sums.own.units);
        }
    }

    // slither-disable-end reentrancy-no-eth

    /// @inheritdoc ISettlement
    function withdraw(uint32 registration, PayRef[] calldata pots) external nonReentrant returns (uint256 paid) {
        bool any;
        (address profile, uint256 due) = (address(0), 0);
        for (uint256 i; i < pots.length; ++i) {
            (address payee, uint256 amount, bool open) = _settle(registration, pots[i]);
            if (!open) continue;
            any = true;
            paid += amount;
            if (payee != profile) {
                _payOut(profile, due);
                (profile, due) = (payee, 0);
            }
            due += amount;
        }
        if (!any) revert NothingToWithdraw(registration);
        _payOut(profile, due);
    }

    /// @inheritdoc ISettlement
    function collect(PotRef[] calldata pots) external nonReentrant returns (uint256 paid) {
        uint256 toTreasury;
        for (uint256 i; i < pots.length; ++i) {
            (uint256 ownerAmount, uint256 treasuryAmount) = _collect(pots[i]);
            toTreasury += treasuryAmount;
            paid += ownerAmount + treasuryAmount;
        }
        escrow.pay(params.treasury(), toTreasury);
    }

    /// @inheritdoc ISettlement
    function reportEquivocation(
        address application,
        bytes32 service,
        uint32 session,
        Receipt calldata receipt,
        Response calldata first,
        bytes calldata firstSignature,
        Response calldata second,
        bytes calldata secondSignature
    ) external nonReentrant returns (uint96 slashed) {
        bytes32 id = _sessionId(application, service, session);
        if (receipt.session != id) revert OtherReceipt(id, receipt.session);
        bytes32 digest = receiptDigest(receipt);
        bytes32 firstDigest = _answers(digest, receipt.supplier, first, firstSignature);
        if (firstDigest == _answers(digest, receipt.supplier, second, secondSignature)) {
            revert SameResponse(firstDigest);
        }
        uint32 registration = registry.registrationBy(service, receipt.supplier);
        if (registration == 0) revert UnknownOperator(service, receipt.supplier);
        if (_reported[digest][registration]) revert AlreadyReported(digest);
        _reported[digest][registration] = true;
        slashed = registry.slash(registration, params.rulesAt(session).slashShare);
        emit SupplierFaulted(registration, digest, slashed);
    }

    /// @inheritdoc ISettlement
    function potId(PotKey calldata key) external pure returns (bytes32) {
        return _potId(key);
    }

    /// @inheritdoc ISettlement
    function potOf(bytes32 pot) external view returns (Pot memory) {
        return _pots[pot];
    }

    /// @inheritdoc ISettlement
    function claimOf(bytes32 pot, uint8 rank) external view returns (Claim memory) {
        return _claims[pot][rank];
    }

    /// @inheritdoc ISettlement
    function compensationOf(bytes32 pot, uint8 rank) external view returns (uint96) {
        return _compensations[pot][rank];
    }

    /// @inheritdoc ISettlement
    function payOf(PotRef calldata ref) external view returns (uint256[] memory amounts, uint256 fee) {
        bytes32 id = _potId(ref.key);
        _committed(_pots[id], ref.priced);
        return _pays(id, ref.key, ref.priced);
    }

    /// @dev Checks and prices a statement's entries (rules 5.2 and 5.3).
    function _price(PotKey memory key, bytes calldata entries) private view returns (bytes memory priced, uint256 sum) {
        // The product finds a length that is no whole number of entries.
        // slither-disable-next-line divide-before-multiply
        uint256 n = entries.length / Entries.STATED;
        if (n == 0 || entries.length != n * Entries.STATED) revert BadEntries(entries.length);
        (uint256 count, uint256[] memory slots) = registry.slotsAt(key.service, key.session, _indices(entries, n));
        IParams.Rules memory rules = params.rulesAt(key.session);
        uint256 suppliers = Math.min(rules.suppliers, count);
        bytes32 seed = sessions.seedOf(key.application, key.service, key.session);
        uint256 bits = Selection.bitsOf(count);
        priced = Entries.room(n);
        for (uint256 i; i < n; ++i) {
            (uint256 index, uint256 units, uint256 quality) = Entries.stated(entries, i);
            if (units == 0) revert NoUnits(i);
            if (quality < rules.qualityMin || quality > Pay.WHOLE) revert BadQuality(i, quality, rules.qualityMin);
            uint256 rank = _rank(seed, count, bits, index, suppliers);
            uint256 amount = Pay.amountDown(units, uint64(slots[i]));
            sum += amount;
            Entries.put(priced, i, index, rank, amount, quality, units);
        }
        Entries.close(priced, n);
    }

    /// @dev The indices of a statement, strictly ascending (rule 5.3).
    function _indices(bytes calldata entries, uint256 n) private pure returns (uint32[] memory indices) {
        indices = new uint32[](n);
        uint256 previous;
        for (uint256 i; i < n; ++i) {
            (uint256 index,,) = Entries.stated(entries, i);
            if (i > 0 && index <= previous) revert NotAscending(i, index, previous);
            indices[i] = uint32(index);
            previous = index;
        }
    }

    function _rank(bytes32 seed, uint256 count, uint256 bits, uint256 index, uint256 suppliers)
        private
        pure
        returns (uint256 rank)
    {
        if (index >= count) revert NotInSession(index, count, suppliers);
        rank = Selection.inverse(seed, count, bits, index);
        if (rank >= suppliers) revert NotInSession(index, rank, suppliers);
    }

    /// @dev The registration that holds an index in a session, and its rank there.
    function _member(PotKey calldata key, uint32 index) private view returns (Member memory member) {
        uint256 count = registry.countAt(key.service, key.session);
        uint256 slot = registry.slotAt(key.service, key.session, index);
        uint256 suppliers = Math.min(params.suppliersAt(key.session), count);
        bytes32 seed = sessions.seedOf(key.application, key.service, key.session);
        address profile = address(uint160(slot >> 64));
        member.rank = _rank(seed, count, Selection.bitsOf(count), index, suppliers);
        (member.registration, member.operator) = Profiles.head(profile);
        member.price = uint64(slot);
    }

    /// @dev What a claim's receipts and responses prove (rule 5.7).
    function _prove(
        bytes32 session,
        address gateway,
        address operator,
        LaneReceipt[] calldata lanes,
        LaneResponse[] calldata responses
    ) private view returns (Proof memory proof) {
        if (lanes.length == 0) revert NoLanes();
        bytes32 domain = _domainSeparatorV4();
        bytes32[] memory digests = new bytes32[](responses.length == 0 ? 0 : lanes.length);
        bytes32 previous;
        (uint256 totals, uint256 holds) = (0, 0);
        // Calldata cannot hold enough lanes for sums of 128 bits to overflow.
        unchecked {
            for (uint256 i; i < lanes.length; ++i) {
                LaneReceipt calldata lane = lanes[i];
                bytes32 id = lane.lane;
                if (id <= previous && i > 0) revert LaneNotAscending(i, id, previous);
                previous = id;
                (bytes32 digest, address signer) = Lanes.receipt(domain, session, operator, lane);
                _signedBy(gateway, signer);
                totals += lane.total;
                holds += lane.hold;
                if (digests.length > 0) digests[i] = digest;
            }
        }
        (proof.totals, proof.holds) = (totals, holds);
        proof.units = proof.totals + _held(domain, operator, lanes, responses, digests);
        if (proof.units > type(uint64).max) revert TooManyUnits(proof.units);
    }

    /// @dev What responses add to the totals: at most each receipt's hold.
    function _held(
        bytes32 domain,
        address operator,
        LaneReceipt[] calldata lanes,
        LaneResponse[] calldata responses,
        bytes32[] memory digests
    ) private view returns (uint256 units) {
        uint256 least;
        for (uint256 i; i < responses.length; ++i) {
            LaneResponse calldata response = responses[i];
            uint256 position = response.position;
            if (position >= lanes.length) revert NoSuchLane(position, lanes.length);
            if (position < least) revert NotAscending(i, position, least);
            least = position + 1;
            _signedBy(operator, Lanes.response(domain, digests[position], response));
            units += Math.min(lanes[position].hold, response.units);
        }
    }

    /// @dev Keeps a higher claim and takes what it adds from escrow (rules 5.8 and 5.11).
    function _raise(
        Claim storage c,
        Pot storage pot,
        PotKey calldata key,
        uint32 index,
        uint256 units,
        uint256 amount,
        Entries.Sums memory sums
    ) private {
        uint256 atLeast = Math.max(sums.own.units, c.units);
        if (units <= atLeast) revert ClaimTooLow(units, atLeast);
        // The stated amount and the claim before are both at most `amount`: more units at one price.
        uint256 added = amount - Math.max(sums.own.amount, c.amount);
        (c.amount, c.units, c.index) = (uint96(amount), uint64(units), index);
        // Beyond any cap the sum says no more, so it may stop there; it never falls.
        uint256 excess = Math.min(pot.excess + added, type(uint88).max);
        uint256 taken = pot.taken;
        (uint256 more,) =
            _take(key.application, key.gateway, key.service, key.session, taken, sums.amounts + excess);
        (pot.excess, pot.taken) = (uint88(excess), uint96(taken + more));
    }

    /// @dev Rule 5.15. A higher claim after this one pays only what it adds: nothing, if responses made it higher.
    // slither-disable-start reentrancy-no-eth,reentrancy-benign,reentrancy-events
    // Gateways moves the token to Escrow; both entrances of this contract are guarded while it does.
    function _fault(bytes32 id, address gateway, Member memory member, uint256 units) private {
        uint96 before = _compensations[id][member.rank];
        uint256 due = Pay.amountDown(units, member.price);
        if (due <= before) return;
        uint96 got = gateways.slash(gateway, due - before);
        _compensations[id][member.rank] = before + got;
        _claims[id][member.rank].faulted = true;
        emit GatewayFaulted(id, member.registration, gateway, uint64(units), got);
    }
    // slither-disable-end reentrancy-no-eth,reentrancy-benign,reentrancy-events

    /// @dev Marks one rank of one pot as paid; `open` is false if it was before.
    function _settle(uint32 registration, PayRef calldata ref)
        private
        returns (address profile, uint256 amount, bool open)
    {
        _within(ref.key.session, claimsUntil(ref.key.session) + 1, type(uint256).max);
        bytes32 id = _potId(ref.key);
        Pot storage pot = _pots[id];
        uint64 bit = uint64(1 << ref.rank);
        if (pot.withdrawn & bit != 0) return (address(0), 0, false);
        _committed(pot, ref.priced);
        Entries.Sums memory sums = Entries.sums(ref.priced, ref.rank);
        Claim memory c;
        // Without excess no claim adds anything to what was stated.
        if (pot.excess > 0 || sums.own.units == 0) c = _claims[id][ref.rank];
        if (c.units == 0 && sums.own.units == 0) revert NotInPot(id, ref.rank);
        uint32 index = c.units == 0 ? uint32(sums.own.index) : c.index;
        uint256 slot = registry.slotAt(ref.key.service, ref.key.session, index);
        profile = address(uint160(slot >> 64));
        uint32 actual = Profiles.registration(profile);
        if (actual != registration) revert NotRegistration(registration, actual);
        pot.withdrawn |= bit;
        amount = _pay(id, ref, pot, sums, c);
        if (c.faulted) amount += _compensations[id][ref.rank];
        open = true;
        emit Withdrawn(id, registration, ref.rank, amount);
    }

    /// @dev What one rank gets: without the other ranks' claims where the pot is not short.
    function _pay(bytes32 id, PayRef calldata ref, Pot storage pot, Entries.Sums memory sums, Claim memory c)
        private
        view
        returns (uint256)
    {
        if (sums.amounts + pot.excess > pot.taken) {
            (uint256[] memory pays,) = _pays(id, ref.key, ref.priced);
            return pays[ref.rank];
        }
        IParams.Rules memory rules = params.rulesAt(ref.key.session);
        uint256 amount = sums.own.amount;
        return Pay.statedDown(
            amount, sums.own.quality, sums.amounts, sums.weighted, rules.fee, rules.qualityShare
        ) + Pay.netDown(Math.max(c.amount, amount) - amount, rules.fee);
    }

    /// @dev What each rank gets, and what is left.
    function _pays(bytes32 id, PotKey calldata key, bytes calldata priced)
        private
        view
        returns (uint256[] memory pays, uint256 fee)
    {
        IParams.Rules memory rules = params.rulesAt(key.session);
        uint256 n = Math.min(rules.suppliers, registry.countAt(key.service, key.session));
        Pot storage pot = _pots[id];
        Pay.Book memory book = Pay.Book(
            new uint256[](n), new uint256[](n), new uint256[](n), pot.taken, rules.fee, rules.qualityShare
        );
        for (uint256 i; i < priced.length / Entries.PRICED; ++i) {
            Entries.Entry memory e = Entries.priced(priced, i);
            (book.amounts[e.rank], book.qualities[e.rank], book.demands[e.rank]) = (e.amount, e.quality, e.amount);
        }
        if (pot.excess > 0) {
            for (uint256 rank; rank < n; ++rank) {
                book.demands[rank] = Math.max(book.amounts[rank], _claims[id][rank].amount);
            }
        }
        pays = Pay.all(book);
        fee = pot.taken;
        for (uint256 rank; rank < n; ++rank) {
            fee -= pays[rank];
        }
    }

    /// @dev Pays the service's owner its part of a pot's fee; the treasury's is paid by the caller.
    function _collect(PotRef calldata ref) private returns (uint256 ownerAmount, uint256 treasuryAmount) {
        _within(ref.key.session, claimsUntil(ref.key.session) + 1, type(uint256).max);
        bytes32 id = _potId(ref.key);
        if (_pots[id].collected) revert AlreadyCollected(id);
        _committed(_pots[id], ref.priced);
        (, uint256 fee) = _pays(id, ref.key, ref.priced);
        _pots[id].collected = true;
        (,, uint256 share) = services.termsAt(ref.key.service, ref.key.session);
        share = Math.min(share, params.rulesAt(ref.key.session).ownerShareMax);
        address owner = services.ownerOf(ref.key.service);
        ownerAmount = fee * share / Pay.WHOLE;
        treasuryAmount = fee - ownerAmount;
        emit Collected(id, ref.key.service, owner, ownerAmount, treasuryAmount);
        escrow.pay(owner, ownerAmount);
    }

    /// @dev Rule 5.13: the last payout takes the dust.
    function _payOut(address profile, uint256 amount) private {
        if (amount == 0) return;
        IRegistry.Payout[] memory payouts = Profiles.payoutsIn(profile.code);
        uint256 left = amount;
        for (uint256 i; i < payouts.length - 1; ++i) {
            uint256 part = amount * payouts[i].share / Pay.WHOLE;
            left -= part;
            escrow.pay(payouts[i].account, part);
        }
        escrow.pay(payouts[payouts.length - 1].account, left);
    }

    /// @dev Takes what is wanted and not taken yet, up to the grant's cap.
    function _take(
        address application,
        address gateway,
        bytes32 service,
        uint32 session,
        uint256 before,
        uint256 wanted
    ) private returns (uint256 taken, uint256 cap) {
        (taken, cap) = escrow.take(application, gateway, service, session, before, wanted);
        if (cap == 0) revert NoGrant(application, gateway, service, session);
    }

    /// @dev Both ends included.
    function _within(uint32 session, uint256 opens, uint256 closes) private view {
        if (block.number < opens || block.number > closes) revert WindowClosed(session, block.number, opens, closes);
    }

    function _committed(Pot storage pot, bytes calldata priced) private view {
        bytes32 given = priced.length == 0 ? bytes32(0) : keccak256(priced);
        if (given != pot.commit) revert WrongPriced(given, pot.commit);
    }

    function _sessionId(address application, bytes32 service, uint32 session) private pure returns (bytes32) {
        return keccak256(abi.encode(application, service, session));
    }

    function _potId(PotKey memory key) private pure returns (bytes32) {
        return keccak256(abi.encode(_sessionId(key.application, key.service, key.session), key.gateway));
    }
}
