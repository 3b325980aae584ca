// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title A value by session number
/// @notice The newest value and the session it holds from share one word, so the usual read costs one storage load;
/// older ones are OpenZeppelin checkpoints.
library Timeline {
    using Checkpoints for Checkpoints.Trace224;

    struct History {
        uint224 newest;
        uint32 from;
        Checkpoints.Trace224 past;
    }

    error NotForward(uint256 from, uint256 newest);

    /// @notice Sets what holds from session `from` on. Twice for the same session replaces.
    function set(History storage self, uint32 from, uint224 value) internal {
        (uint224 newest, uint32 newestFrom) = (self.newest, self.from);
        if (from < newestFrom) revert NotForward(from, newestFrom);
        if (from > newestFrom && (newest != 0 || newestFrom != 0)) self.past.push(newestFrom, newest);
        (self.newest, self.from) = (value, from);
    }

    /// @notice What holds in a session; zero before the first value.
    function during(History storage self, uint32 session) internal view returns (uint224) {
        (uint224 newest, uint32 from) = (self.newest, self.from);
        return session >= from ? newest : self.past.upperLookupRecent(session);
    }

    /// @notice What holds once every change made so far does.
    function latest(History storage self) internal view returns (uint224) {
        return self.newest;
    }
}
