// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Who gets how much of a pot (rules 5.2 and 5.6 to 5.12)
/// @notice Pure integer arithmetic in exactly the order of the rules; every division rounds down, and what rounding
/// leaves is fee.
/// @dev No overflow: stated amounts sum to at most the cap < 2^88, so W < 2^88 * 10^4 < 2^102 and both terms of rule
/// 5.6 are below 2^14 * 2^14 * 2^88 * 2^102 = 2^218. Demands are below 2^96, at most 64 of them.
library Pay {
    uint256 internal constant WHOLE = 10_000;
    uint256 internal constant PER_UNITS = 1_000_000;

    /// @notice A pot by rank. All arrays have one element for each supplier of the session.
    /// @param amounts stated, A.
    /// @param qualities stated, w; zero where not stated.
    /// @param demands D.
    /// @param taken L, what the pot took from escrow.
    struct Book {
        uint256[] amounts;
        uint256[] qualities;
        uint256[] demands;
        uint256 taken;
        uint256 fee;
        uint256 share;
    }

    /// @notice Rule 5.2: base units for `units` at `price` base units per million.
    function amountDown(uint256 units, uint256 price) internal pure returns (uint256) {
        return units * price / PER_UNITS;
    }

    /// @notice Rule 5.6. Where nothing costs anything (`weighted` 0) nobody gets anything.
    function statedDown(
        uint256 amount,
        uint256 quality,
        uint256 amounts,
        uint256 weighted,
        uint256 fee,
        uint256 share
    ) internal pure returns (uint256) {
        if (weighted == 0) return 0;
        uint256 sum = (WHOLE - share) * amount * weighted + share * amounts * amount * quality;
        return (WHOLE - fee) * sum / (WHOLE * WHOLE * weighted);
    }

    /// @notice What is left of `amount` after the fee (rules 5.9 and 5.10).
    function netDown(uint256 amount, uint256 fee) internal pure returns (uint256) {
        return (WHOLE - fee) * amount / WHOLE;
    }

    /// @notice What each rank gets.
    function all(Book memory book) internal pure returns (uint256[] memory pays) {
        uint256 n = book.demands.length;
        (uint256 amounts, uint256 weighted, uint256 demanded) = (0, 0, 0);
        for (uint256 i; i < n; ++i) {
            amounts += book.amounts[i];
            weighted += book.amounts[i] * book.qualities[i];
            demanded += book.demands[i];
        }
        if (demanded > book.taken) return _short(book, demanded);
        pays = new uint256[](n);
        for (uint256 i; i < n; ++i) {
            uint256 amount = book.amounts[i];
            pays[i] = statedDown(amount, book.qualities[i], amounts, weighted, book.fee, book.share)
                + netDown(book.demands[i] - amount, book.fee);
        }
    }

    /// @dev Rule 5.10: an equal part for each first, the rest pro rata.
    function _short(Book memory book, uint256 demanded) private pure returns (uint256[] memory pays) {
        uint256 n = book.demands.length;
        pays = new uint256[](n);
        uint256 part = book.taken / n;
        uint256 guaranteed;
        for (uint256 i; i < n; ++i) {
            guaranteed += Math.min(book.demands[i], part);
        }
        (uint256 rest, uint256 wanting) = (book.taken - guaranteed, demanded - guaranteed);
        for (uint256 i; i < n; ++i) {
            uint256 demand = book.demands[i];
            uint256 g = Math.min(demand, part);
            pays[i] = netDown(g + rest * (demand - g) / wanting, book.fee);
        }
    }
}
